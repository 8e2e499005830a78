class Layout:
    record: type
    names: tuple[str, ...]
    makes: bool

    def __init__(self, record: type) -> None: ...
    def place(self, name: str) -> int: ...
