from imapids.records.packets import I64, U8

def walk_records(data: U8, at: int, last: int, stop: int, header: int, captured_at: int, limit: int, big: bool,
                 found: I64) -> tuple[int, int, int]: ...
