#!/usr/bin/env bash
# Builds the guide as a book, with search, into target/book.
#
# The pages are read in the repository too, so they link to ../format-spec.md and ../ARCHITECTURE.md. A book knows only
# the pages of one folder: here they are put into one, and the links with them.
set -eu
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
book="$root/target/book-pages"
rm -rf "$book"
mkdir -p "$book/src"
cp "$root/docs/book.toml" "$book/"
cp -R "$root"/docs/*.md "$root"/docs/*.svg "$root/docs/pictures" "$root/docs/decisions" "$book/src/"
cp "$root/ARCHITECTURE.md" "$root/CONTRIBUTING.md" "$root/SECURITY.md" "$root/format-spec.md" "$book/src/"
cp "$root/benches/README.md" "$book/src/benches.md"
cp "$root/benches/instructions.txt" "$root/engine/src/ops/cost/prices.toml" "$book/src/"
# The front page of a book is its index.
mv "$book/src/README.md" "$book/src/index.md"
# mdBook makes pages only of what the summary names.
printf -- '- [Contributing](CONTRIBUTING.md)\n- [Security](SECURITY.md)\n- [Benchmarks](benches.md)\n' \
    >>"$book/src/SUMMARY.md"
for page in "$book"/src/*.md "$book"/src/decisions/*.md; do
    # GNU and BSD sed differ in -i.
    sed -e 's#](docs/#](#g' -e 's#](\(\.\./\)*engine/src/ops/cost/#](#g' -e 's#](\.\./benches/README\.md#](benches.md#g' \
        -e 's#](\.\./benches/#](#g' -e 's#](\.\./docs/#](#g' \
        -e 's#](README\.md#](index.md#g' "$page" >"$page.new"
    case "$page" in
    */decisions/*) sed -e 's#](\.\./\.\./#](../#g' "$page.new" >"$page" ;;
    *) sed -e 's#](\.\./#](#g' "$page.new" >"$page" ;;
    esac
    rm "$page.new"
done
mdbook build "$book" --dest-dir "$root/target/book"
