#!/usr/bin/env bash
# Of a Darwin Core Archive whose core is spread over two files, only the first is read
#
# Versions: Python 3.11; python-dwca-reader 0.17.1.
# Behaviour: the Darwin Core text guide lets <files> hold several <location> elements, whose rows together are the
#   table. One expects the rows of both, or an error. The reader gives those of the first, by iteration, with
#   no warning; the file that it names as the core is the first alone.
# Seen (2026-11-28):
#   core: a.csv
#   rows: ['1', '2']
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet python-dwca-reader==0.17.1 2>"$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }
cd "$folder"
mkdir archive
cat >archive/meta.xml <<'XML'
<archive xmlns="http://rs.tdwg.org/dwc/text/">
  <core encoding="UTF-8" fieldsTerminatedBy="," linesTerminatedBy="\n" fieldsEnclosedBy='"' ignoreHeaderLines="1"
        rowType="http://rs.tdwg.org/dwc/terms/Occurrence">
    <files><location>a.csv</location><location>b.csv</location></files>
    <id index="0"/>
    <field index="1" term="http://rs.tdwg.org/dwc/terms/scientificName"/>
  </core>
</archive>
XML
printf 'id,scientificName\n1,Parus major\n2,Periparus ater\n' >archive/a.csv
printf 'id,scientificName\n3,Acer rubrum\n' >archive/b.csv
"$folder/venv/bin/python" - >seen.txt <<'CODE'
from dwca.read import DwCAReader

with DwCAReader("archive") as archive:
    print("core:", archive.core_file_location)
    print("rows:", [row.id for row in archive])
CODE
cat >expected.txt <<'SEEN'
core: a.csv
rows: ['1', '2']
SEEN
diff expected.txt seen.txt || { echo "the behaviour has changed"; exit 1; }
cat seen.txt
