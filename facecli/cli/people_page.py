"""stub"""


class PeoplePage: ...
