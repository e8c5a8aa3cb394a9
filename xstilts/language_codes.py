"""Which codes name the same language: `zh`, `zh-CN`, `zh_hans`, `zho` and `cmn`."""

import re

# ISO 639-3, 639-2 (B) and withdrawn codes of the benchmarks' languages and of others in XLM-R's pretraining -> ISO 639-1, or the
# code that the tasks use. Varieties with a code of their own that are other languages to the benchmarks' files (yue, arz) stay.
OTHER_CODES = {
    other: code
    for code, *others in (
        line.split()
        for line in (
            "af afr;am amh;ar ara arb;as asm;az aze azj azb;be bel;bg bul;bn ben;br bre;bs bos;ca cat;cs ces cze;"
            "cy cym wel;da dan;de deu ger;el ell gre;en eng;eo epo;es spa;et est ekk;eu eus baq;fa fas per pes prs;"
            "fi fin;fr fra fre;fy fry;ga gle;gd gla;gl glg;gu guj;ha hau;he heb iw;hi hin;hr hrv;ht hat;hu hun;"
            "hy hye arm;id ind in;is isl ice;it ita;ja jpn;jv jav jw;ka kat geo;kk kaz;km khm;kn kan;ko kor;ku kur kmr;"
            "ky kir;la lat;lo lao;lt lit;lv lav lvs;mg mlg;mk mkd mac;ml mal;mn mon khk;mr mar;ms msa may zsm zlm;"
            "my mya bur;ne nep npi;nl nld dut;no nor nb nob nn nno;om orm;or ori ory;pa pan;pl pol;ps pus pbt;pt por;"
            "qu que quy quz;ro ron rum mo;ru rus;sa san;sd snd;si sin;sk slk slo;sl slv;so som;sq sqi alb als;sr srp;su sun;"
            "sv swe;sw swa swh;ta tam;te tel;th tha;tl tgl fil;tr tur;ug uig;uk ukr;ur urd;uz uzb uzn;vi vie;wo wol;"
            "xh xho;yi yid ydd;yo yor;zh zho chi cmn"
        ).split(";")
    )
    for other in others
}


def language_of(code):
    """The language of a code, whatever script or region it names: `zh` of zh_Hans, `pt` of pt-BR, `de` of deu. Unknown codes are
    languages of their own, in lower case. Of a pair (`de-en`) it is the first, the language of the context."""
    first = re.split(r"[-_]", code.lower())[0]
    return OTHER_CODES.get(first, first)
