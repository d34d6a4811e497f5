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
python -m bioclip_lib.report RUN
    write the answer page of a finished run, RUN/index.html
Each takes --help. With make: make help."""


if __name__ == "__main__":
    sys.stdout.write(COMMANDS + "\n")
