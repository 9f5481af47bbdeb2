"""What a user can get wrong, each with the fix.

RenderError
├── UsageError      wrong words on the command line, or a plan that cannot work     exit status 2
├── PictureError    a picture that cannot be read, used or written                  its job fails
├── PresetError     a style preset that is missing, misspelt or out of range        its job fails
├── WeightsError    network weights that are missing, damaged or of another network
└── DivergedError   the optimisation reached NaN or never moved                     its job fails
"""


class RenderError(Exception):
    """Base of every error a user can mend; its text names the file and the fix."""


class UsageError(RenderError):
    pass


class PictureError(RenderError):
    pass


class PresetError(RenderError):
    pass


class WeightsError(RenderError):
    pass


class DivergedError(RenderError):
    pass
