"""What the columns of a table of photographs are called, and what they say.

Takes a table; returns it under the names that this project uses, the column of names, and what else is said of them.
The names are those of Darwin Core, Audubon Core, iNaturalist, GBIF, LILA, Kaggle, Wildlife Insights, Timelapse,
CamtrapR and PlantCLEF. Refuses a table without a column that is needed; the message lists those found.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from .. import RANKS
from ..errors import InputError
from ..files.dialect import normal_name
from ..files.images import IMAGE_SUFFIXES
from ..files.tables import column_names, read_strings
from ..taxonomy.authors import without_accents
from ..taxonomy.labels import NOT_KNOWN

RAW_COLUMNS = ("source", "source_id", "location", "verbatim_name", "problem")  # of every raw table, all text
GROUP_COLUMN = "group"  # an observation, occurrence, sequence or individual: never on two sides of a split
SPLIT_COLUMN = "source_split"  # the split that the data set's makers assigned
STATE_COLUMNS = ("sex", "life_stage")  # of the organism, as the source writes them
OPTIONAL_COLUMNS = (*RANKS, "scientific_name", "common_name", "license", "rights_holder", "source_url")

NO_TAXON = "image of no taxon ("  # what it is of follows
NOT_AN_IMAGE = "not an image ("  # what it is follows
SEVERAL = "several taxa on one image"
DOUBTFUL = "a model is not sure of it"
EMPTY = "class folder without an image"
LISTED_AGAIN = "listed again"
UNLISTED = "image that the table does not list"
SECOND_OF_ID = "second image of this id"
NOT_PUBLISHED = "image not in the published archives"
NO_IMAGE, OCCURRENCE_AGAIN = "occurrence without an image", "occurrence listed again"
BY_DESIGN = (
    *(NO_TAXON, NOT_AN_IMAGE, SEVERAL, DOUBTFUL, EMPTY, LISTED_AGAIN, UNLISTED, SECOND_OF_ID),
    *(NOT_PUBLISHED, NO_IMAGE, OCCURRENCE_AGAIN),
)
"""How ``problem`` begins where the data set means a row to have no image of use; all else is wrong with a file."""

NAME_COLUMNS = (
    *("name", "class_name", "verbatim_name", "label", "scientific_name", "species", "class", "common_name"),
    *("category", "text", "folder", "class_id"),
)
PATH_COLUMNS = ("path", "file", "filename", "filepath", "file_path", "file_name", "image", "image_path", "photo_id")
_KNOWN = {
    "path": "path filepath filepaths filename filenames file imagepath imagefile imagefilename imagename image images "
    "imgpath imgfile imgname img photopath photofile photofilename photoname photo picturepath picturefile "
    "picturename picture pic mediafile mediapath medianame localpath localfile fullpath fullfilename relativefile "
    "filelocation imagelocation pathtoimage pathtofile sourcefile jpg jpeg imagefilepath imageurllocal absolutepath "
    "datei dateiname bild bilddatei fichier nomfichier archivo nombrearchivo arquivo imagen imagem foto bestand",
    "folder": "relativepath directory folder dir subfolder imagefolder imagedirectory foldername filedirectory",
    "photo_id": "photoid imageid imgid pictureid mediaid assetid photouuid imageuuid fileid id uuid mlcatalognumber",
    "address": "accessuri imageurl photourl mediaurl pictureurl imgurl urlgcp urlaws urlazure largeurl originalurl "
    "imagelink downloadurl urlimage urlphoto imagebackupurl imageaddress identifier mediaidentifier associatedmedia",
    "label": "label labels labelname truelabel truespecies trueclass truename groundtruth target targetname "
    "categoryname annotation tag breed identification identifiedas determination originallabel classlabel "
    "speciesguess organism choice",
    "scientific_name": "scientificname sciname acceptedname latinname latin binomial binomialname binomen "
    "taxonomicname taxonname taxon taxa scientific speciesscientificname verbatimscientificname canonicalname "
    "acceptedscientificname acceptednameusage scientificnames speciesname questionspecies nomenclature "
    "wissenschaftlichername lateinischername nomscientifique nomlatin nombrecientifico nomecientifico "
    "wetenschappelijkenaam",
    "species": "art artname artenname espece nomdespece especie soort",
    "genus": "gattung",
    "family": "familie famille familia",
    "common_name": "commonname vernacularname englishname common vernacular commonnames englishcommonname",
    "class_name": "classname classnames",
    "class_id": "classid labelid categoryid speciesid targetid classindex labelindex",
    "epithet": "specificepithet speciesepithet epithet",
    "qualifier": "identificationqualifier qualifier",
    "seen": "occurrencestatus presence present presenceabsence ispresent individualcount",
    "license": "license licence licensename licencename licenseurl licenceurl rights usageterms webstatement "
    "imagelicense imagelicence medialicense medialicence licensetype licencetype licensecode licencecode "
    "photolicense photolicence",
    "rights_holder": "rightsholder owner copyrightholder copyrightowner holder creator photographer author credit "
    "attribution copyright userlogin username recordedby observer photographername",
    "source_url": "sourceurl url references occurrenceurl observationurl pageurl webpage weblink link",
    "sex": "sex gender geschlecht sexe sexo sesso geslacht",
    "life_stage": "lifestage developmentalstage agegroup ageclass lebensstadium",
    "split": "split splits datasplit sourcesplit traintestsplit splitset splitname trainvaltest traintest learntag "
    "fold folds kfold cvfold partition evalpartition usage subset set dataset phase stage",
    "group": "group groupid observationid obsid observationuuid occurrenceid eventid sequenceid seqid captureid "
    "burstid burst sequence captureevent specimenid individualid individual animalid organismid eolpageid videoid "
    "trackid trackletid gbifid catalognumber episodeid identity individualname animalname specimencode barcode "
    "nestid colonyid plantid treeid encounterid video",
}
_CANONICAL = {word: name for name, words in _KNOWN.items() for word in words.split()}
_PRIORITY = {word: i for i, word in enumerate(word for words in _KNOWN.values() for word in words.split())}
_MAX_SPLITS = 8
_MAY_BE_OTHER = ("usage", "subset", "set", "dataset", "phase", "stage")  # split where their words say so
_SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "tr", "trn", "learn", "trainval"), "train"),
    **dict.fromkeys(("entrenamiento", "entrainement", "apprentissage", "treino", "trainingsdaten"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "validate", "eval"), "val"),
    **dict.fromkeys(("validacion", "validacao", "validierung", "validierungsdaten"), "val"),
    **dict.fromkeys(("test", "testing", "tst", "tests", "holdout", "heldout", "publictest", "privatetest"), "test"),
    **dict.fromkeys(("prueba", "pruebas", "testdaten", "teste"), "test"),
}
_OF_USAGE = {"public": "test", "private": "test"}  # the two halves of a test at Kaggle
PUBLISHED = {
    **dict.fromkeys(("train", "train_small", "train_mini", "pretrain"), "train"),
    **dict.fromkeys(("val", "validation"), "val"),
    "test": "test",
    **dict.fromkeys(("key_unseen", "val_unseen", "test_unseen", "other_heldout"), "heldout_species"),  # BIOSCAN-5M
    **dict.fromkeys(("", "none", "no_split", "unassigned"), ""),
}
"""What the makers of data sets call their splits, and what it is here; '' leaves it to us."""
_YES, _NO = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no")
_OF_A_NAME = r"\b1[78]\d\d\b|^\(?L\.|\bLinn"
_RANK_WORDS = {**{f"{rank}name": rank for rank in RANKS if rank != "class"}, **{rank: rank for rank in RANKS}}
MARKED = (
    r"(?i)(?:cf|aff|nr|sp|spp|spec|ssp|subsp|indet|x|×|\?)(?:[. ]|$)|.*/"
    r"|.* (?:x|×|or|agg\.?|group|complex|s\.|sensu|var\.|ssp\.|subsp\.|f\.)(?:\s|$)"
)
"""Epithets that say more than one word and still lack their genus."""
_DOUBT = re.compile(r"(?i)(?:cf|aff|nr|near|conf|prob|poss|\?|uncertain|doubtful|sp)(?:[. ]|$|ably|ibly|ine)")
_AGGREGATE = re.compile(
    r"(?i)agg(?:\.|$|reg)|(?:species )?(?:group|complex)$|s\. ?l\.|s\. ?str\.|sensu (?:lato|stricto)"
)


def split_word(text: str) -> str:
    """Return the split that a word means, '' where it means none: "images_val" is one, "Testudo" none."""
    words = re.split(r"[\W_\d]+", without_accents(text.lower()))
    words = [word for word in words if word not in ("", "images", "image", "set", "data")]
    return _SPLIT_WORDS.get(words[0], "") if len(words) == 1 else ""


def read_known(path: Path) -> pd.DataFrame:
    """Read a table that a user wrote, as strings, its columns under the names that they have here."""
    return known_columns(read_strings(path))


def known_columns(table: pd.DataFrame) -> pd.DataFrame:
    """Name columns as this project calls them; of several for one thing the best known is kept, under that name."""
    names = [normal_name(column) for column in table.columns]
    if "cls" in names and "class" in names:  # Rare Species: cls is the rank, class the label
        names = [{"class": "class_name", "cls": "class"}.get(name, name) for name in names]
    squeezed = [re.sub(r"[\W_]", "", without_accents(name.rpartition(":")[2])) for name in names]
    found: dict[str, int] = {}
    for i in sorted(range(len(names)), key=lambda i: _PRIORITY.get(squeezed[i], 0)):
        name = _known_name(names[i], squeezed[i], table.iloc[:, i])
        if name not in found or (_says_less(table, found[name], name) and not _says_less(table, i, name)):
            found[name] = i
    kept = {i: name for name, i in found.items()}
    chosen = [i for i in range(len(names)) if i in kept]
    result = table.iloc[:, chosen].set_axis([kept[i] for i in chosen], axis=1)
    if "folder" in found and result["folder"].str.lower().str.endswith(IMAGE_SUFFIXES).all():
        result = result.drop(columns="path", errors="ignore").rename(columns={"folder": "path"})
    if "qualifier" in result:  # "cf." beside "Parus major" is a doubt
        of_names = [name for name in ("scientific_name", "species", "epithet") if name in result]
        result = result.assign(**{name: qualified(result[name], result["qualifier"]) for name in of_names})
    if "split" not in found:
        return result.assign(**_flagged(table, names))
    words = _split_words(result["split"], squeezed[found["split"]])
    return result.assign(split=words.where(words != "", result["split"])).rename(columns={"split": SPLIT_COLUMN})


def not_seen(table: pd.DataFrame) -> pd.Series:
    """Tell the rows that state an absence; zeros in all of them say that nobody filled them in."""
    seen = table.get("seen", pd.Series("", index=table.index)).str.lower()
    zero = seen.isin(_NO)
    return (seen == "absent") | (zero & ~zero.all())


def _known_name(name: str, squeezed: str, values: pd.Series) -> str:
    """Return what a column is called here, by its name, and its values where these say otherwise."""
    known = name if name in RANKS else _RANK_WORDS.get(squeezed, _CANONICAL.get(squeezed, name))
    if known == "split":  # or a set of another kind
        return name if squeezed in _MAY_BE_OTHER and not _split_words(values, squeezed).any() else known
    if squeezed == "author" and values.str.contains(_OF_A_NAME).any():
        return name  # of the name, not of the photograph
    return "split" if known != "folder" and _are_splits(values) else known


def qualified(names: pd.Series, qualifiers: pd.Series) -> pd.Series:
    """Write qualifiers into names: "cf. major", "Parus cf. major", "Parus major agg."; other words say nothing."""

    def with_word(name: str, qualifier: str) -> str:
        genus, _, epithet = name.partition(" ") if name[:1].isupper() else ("", "", name)
        if name and _AGGREGATE.match(qualifier) and qualifier.lower() not in name.lower():
            return f"{name} {qualifier}"
        doubt = _DOUBT.match(qualifier)
        if not name or not doubt or doubt[0].strip(". ").lower() in re.split(r"[ .]+", name.lower()):
            return name
        return f"{genus} {'aff.' if doubt[0].lower().startswith('aff') else 'cf.'} {epithet or 'sp.'}".strip()

    said = (qualifiers != "").to_numpy()
    if not said.any():
        return names
    written = names.to_numpy(object).copy()
    written[said] = [*map(with_word, names[said], qualifiers[said])]
    return pd.Series(written, index=names.index, dtype=object)


def _split_words(values: pd.Series, column: str) -> pd.Series:
    """Return the splits that the values of a column mean, '' where they mean none: who reads the rows asks why."""
    others = _OF_USAGE if column == "usage" else {}
    return values.map({value: split_word(value) or others.get(value.lower(), "") for value in values.unique()})


def _are_splits(values: pd.Series) -> bool:
    """Tell values that are all words of splits, training among them."""
    unique = values.unique()
    words = {split_word(value) for value in unique} if len(unique) <= _MAX_SPLITS else set()
    return len(words) > 1 and "train" in words and "" not in words


def split_of_folders(paths: pd.Series) -> pd.Series:
    """Return the splits of paths by their folders; '' everywhere, unless each has one and some are for training."""
    folders = paths.map(lambda path: path.rpartition("/")[0])
    words = {folder: next(filter(None, map(split_word, folder.split("/"))), "") for folder in folders.unique()}
    found = folders.map(words)
    return found if _are_splits(found) else found.mask(found != "", "")


def _flagged(table: pd.DataFrame, names: list[str]) -> dict[str, pd.Series]:
    """Return the split that columns as ``is_train`` state by yes or no; no to one alone means the other side."""
    flags = {}
    for i, name in enumerate(names):
        said = re.fullmatch(
            r"(?:is_?|(?:in|for|use_?for|used_?for)_)(.+)|(train|training|test|testing|validation)", name
        )
        word = split_word(said[1] or said[2]) if said else ""
        values = table.iloc[:, i].str.lower()
        if word and values.isin((*_YES, *_NO)).all():
            flags[word] = values.isin(_YES)
        elif word and said[1] and word != "val":  # "is_valid" may say something else
            return {SPLIT_COLUMN: table.iloc[:, i]}  # other words: who reads the rows asks what they mean
    split = pd.Series("" if len(flags) > 1 else "test" if "train" in flags else "train", index=table.index)
    for word, flag in flags.items():
        split = split.mask(flag, word)
    return {SPLIT_COLUMN: split} if flags else {}


def _says_less(table: pd.DataFrame, i: int, name: str) -> bool:
    """Tell a column that says nothing, or numbers where names or addresses are looked for."""
    return bool(table.iloc[:, i].str.fullmatch(r"[\d.]*" if name in (*NAME_COLUMNS, "address") else "").all())


def find_column(path: Path, what: str, table: pd.DataFrame, accepted: Sequence[str]) -> str:
    """Return the first accepted column that a table has; `InputError`, which lists those found, where it has none."""
    column = next((column for column in accepted if column in table), None)
    if column is None:
        raise InputError(
            f"{path} has no column for the {what}: found {', '.join(column_names(path))}; "
            f"name one of them {' or '.join(repr(name) for name in accepted)}"
        )
    return column


def verbatim_names(path: Path, table: pd.DataFrame) -> pd.Series:
    """Return the column of names; parts of a name are joined, and a row without one has its deepest rank."""
    candidates = table.drop(columns="class", errors="ignore") if _has_ranks(table) else table
    # numbers are class indices; a column of words beside them is the name
    words = [name for name in NAME_COLUMNS if name in candidates and not table[name].str.fullmatch(r"[\d.]*").all()]
    in_parts = "genus" in table and ("epithet" in table or "species" in table)
    if not words and in_parts:
        words = ["species"]
    column = words[0] if words else find_column(path, "name", candidates, NAME_COLUMNS)
    names = _binomials(table) if column == "species" else table[column]
    if column in ("species", "scientific_name"):
        for rank in ("genus", *(reversed(RANKS[:5]) if _has_ranks(table) else ())):
            names = names.where(names != "", _said(table[rank]) if rank in table else "")
    return names


def _said(part: pd.Series) -> pd.Series:
    """Return the parts of names that say something."""
    return part.mask(part.str.lower().isin(NOT_KNOWN), "")


def _has_ranks(table: pd.DataFrame) -> bool:
    """Tell whether ``class`` stands among other ranks (then it is a rank, not a label)."""
    return bool({"phylum", "order", "family"} & set(table.columns))


def _binomials(table: pd.DataFrame) -> pd.Series:
    """Return "Genus epithet" of the columns ``genus`` and ``species`` or ``epithet``, whichever there are."""
    blank = pd.Series("", index=table.index, dtype=object)
    genus, species, epithet = (_said(table.get(name, blank)) for name in ("genus", "species", "epithet"))
    species = species if "genus" in table else table.get("species", blank)  # alone it is of no taxon, and said so
    species = species.where(species != "", epithet)
    short = species.str.match(r"[A-Z]\. ") & (species.str[0] == genus.str[0])
    species = species.mask(short, species.str[3:])
    marked = (genus != "") & species.str.match(MARKED) & (species.str.partition(" ")[0] != genus)
    return species.where(species.str.contains(" ") & ~marked, genus + " " + species).str.strip()


def by_value(column: pd.Series, function: Callable[[str], str]) -> pd.Series:
    """Apply a function to each distinct value of a column once."""
    codes, values = pd.factorize(column)
    return pd.Series(np.array([*map(function, values)], object)[codes], index=column.index, dtype=object)


def said_of_names(table: pd.DataFrame, names: pd.Series) -> pd.DataFrame:
    """Return the `OPTIONAL_COLUMNS` of a table, as far as they say more than the name itself."""
    # ranks are a lineage only where one above the genus is given; genus and species alone are a name to be looked up
    said = table[[column for column in OPTIONAL_COLUMNS if column in table]].copy()
    if not _has_ranks(table):
        said = said.drop(columns=["class"], errors="ignore")
    if "species" in said:
        said = said.assign(**in_parts(said, binomial=True))
    above = said[[rank for rank in ("kingdom", "phylum", "class", "order", "family") if rank in said]]
    alone = (above == "").all(axis=1)
    if alone.any():
        said["scientific_name"] = table.get("scientific_name", _binomials(table).where(alone, ""))
        said.loc[alone, said.columns.intersection(["genus", "species"])] = ""
    if not len(above.columns):
        said = said.drop(columns=["genus", "species"], errors="ignore")
    if "scientific_name" in said and said["scientific_name"].where(said["scientific_name"] != "", names).equals(names):
        said = said.drop(columns="scientific_name")
    return said


def in_parts(table: pd.DataFrame, binomial: bool) -> dict[str, pd.Series]:
    """Split a species of two words, "Parus major", into genus and epithet, unless another genus, or none, is given.

    One word without a column of genera, "tiger", is no epithet.
    """
    species = table["species"]
    genus = table.get("genus", pd.Series("", index=table.index, dtype=object))
    first, rest = (by_value(species, lambda name, i=i: name.partition(" ")[i]) for i in (0, 2))
    whole = (rest != "") & ((first == genus) | ((genus == "") & binomial))
    return {"genus": genus.where(~whole, first), "species": rest.where(whole, species if "genus" in table else "")}


def beside_the_name(table: pd.DataFrame) -> pd.DataFrame:
    """Return the user's split, groups, sex and life stage, where a table has them."""
    columns = [column for column in (SPLIT_COLUMN, GROUP_COLUMN, *STATE_COLUMNS) if column in table]
    said = table[columns].copy()
    ids = table.get("photo_id", pd.Series(dtype=object))
    if GROUP_COLUMN not in said and len(ids) and ("observed_on" in table or ids[ids != ""].duplicated().any()):
        said[GROUP_COLUMN] = ids  # of observations: iNaturalist's export calls theirs "id"
    return said


def checked_splits(raw: pd.DataFrame, where: str) -> pd.DataFrame:
    """Write splits in the words of `PUBLISHED`; refuse others, for whoever wrote them meant something."""
    given = raw[SPLIT_COLUMN]
    words = {word: split_word(word) or (word.lower() if PUBLISHED.get(word.lower()) else "") for word in given.unique()}
    unknown = [word for word, meant in words.items() if not meant and word.lower() not in PUBLISHED]
    if unknown and len(words) > 1:  # one word alone divides nothing
        first = raw.loc[given == unknown[0], "source_id"].iloc[0]
        raise InputError(
            f"{where} gives images a split that is none of train, val and test: {', '.join(map(repr, unknown[:5]))} "
            f"(first: {first}); write those words, or split all anew with SET=data.published_splits=false"
        )
    return raw.assign(**{SPLIT_COLUMN: given.map(words)})
