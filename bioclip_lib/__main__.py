"""``python -m bioclip_lib`` says what commands there are."""

import sys

COMMANDS = """\
python -m bioclip_lib.reproduce [--profile mini | photos --photos FOLDER] [--run RUN] [--set KEY=VALUE ...]
    run every notebook, in order; an interrupted run goes on where it stopped
python -m bioclip_lib.reproduce --profile photos --photos FOLDER --look
    say how photographs would be read, and stop
python -m bioclip_lib.reproduce [--profile PROFILE] --list-settings
    print every setting with its value, meaning and limits
python -m bioclip_lib.reproduce [--profile PROFILE] [--run RUN] --lab
    open JupyterLab on a run
python -m bioclip_lib.reproduce.page RUN
    write the answer page of a finished run, RUN/index.html
python -m bioclip_lib.reproduce --run RUN --check
    say what of a run is missing, damaged or out of date
python -m bioclip_lib.identify PHOTOS --run RUN --out names.csv
    name new photographs
python -m bioclip_lib.identify.sorting PHOTOS --run RUN --out sorted.csv
    sort photographs without labels into groups that look alike, a name suggested for each
python -m bioclip_lib.figures --run RUN
    draw all figures of a run again
python -m bioclip_lib.sources.download TABLE --to FOLDER --contact ADDRESS
    fetch the images that a table has the addresses of
python -m bioclip_lib.catalog.rare_species CATALOG RED_LIST --out BENCHMARK
    choose a benchmark of threatened species, which training then leaves out (data.benchmark)
Each takes --help. With make: make help."""


if __name__ == "__main__":
    sys.stdout.write(COMMANDS + "\n")
