#!/usr/bin/env bash
# Prints the identity page as people do, and scans it: text, HTML and SVG, by a browser and by a printer of text, in
# fixed and in proportional fonts, at 100 to 200 dots per inch.
#
#   testkit/print_page.sh ICECORE FOLDER
#
# ICECORE is the program, FOLDER is for the files. Needs the Debian packages chromium, paps, ghostscript, poppler-utils,
# fonts-dejavu, fonts-liberation and python3-venv, and the network for two scanners from PyPI. Prints which scanner has read
# which page; ends with 1 unless both read every page at some resolution.
set -eu
[ $# = 2 ] || { sed -n '2,11p' "$0"; exit 2; }
icecore="$(realpath "$1")"
mkdir -p "$2" && cd "$2"
[ -e scanners ] || { python3 -m venv scanners; scanners/bin/pip install -q zxing-cpp opencv-python-headless pillow; }
rm -rf home repo pages && mkdir home pages
export HOME="$PWD/home" ICECORE_PASSWORD=secret
"$icecore" -q --repo repo init
for form in html svg txt; do "$icecore" --repo repo key export --output "page.$form" >/dev/null 2>&1; done
print() {
    chromium --headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync \
        --user-data-dir="$PWD/browser" --no-pdf-header-footer --print-to-pdf="pages/$2.pdf" "file://$PWD/$1" 2>/dev/null
}
print page.html html
print page.svg svg
for font in 'DejaVu Sans Mono' 'DejaVu Sans' 'DejaVu Serif' 'Liberation Sans'; do
    name="${font// /-}"
    printf '<meta charset=utf-8><pre style="font:9pt %s">%s</pre>' "'$font'" "$(sed 's/&/\&amp;/g; s/</\&lt;/g' page.txt)" >text.html
    print text.html "browser-$name"
    paps --font="$font 9" page.txt 2>/dev/null | ps2pdf - "pages/paps-$name.pdf"
done
for page in pages/*.pdf; do
    for dpi in 100 150 200; do pdftoppm -r "$dpi" -png "$page" "${page%.pdf}@$dpi"; done
done
scanners/bin/python - <<'P'
import collections, cv2, glob, sys, zxingcpp
from PIL import Image
read = collections.defaultdict(dict)
for path in sorted(glob.glob("pages/*.png")):
    page, dpi = path[len("pages/"):].split("@")
    dpi = dpi.split("-")[0]
    by = read[page].setdefault(dpi, set())
    found = [code.text for code in zxingcpp.read_barcodes(Image.open(path).convert("L"))]
    by |= {"zxing"} if any(text.startswith("ICECORE-") for text in found) else set()
    found = cv2.QRCodeDetector().detectAndDecodeMulti(cv2.imread(path))[1]
    by |= {"OpenCV"} if any(text.startswith("ICECORE-") for text in found) else set()
whole = True
for page, by in read.items():
    print(page, *(f"{dpi} dpi: {' and '.join(sorted(who)) or 'nobody'};" for dpi, who in by.items()))
    whole &= set().union(*by.values()) == {"zxing", "OpenCV"}
sys.exit(not whole)
P
