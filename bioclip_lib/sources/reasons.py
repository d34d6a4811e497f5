"""Why a row of the raw table has no image that can be used, where its data set means it so: how ``problem`` begins.

Whatever else a ``problem`` says is wrong with a file.
"""

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
