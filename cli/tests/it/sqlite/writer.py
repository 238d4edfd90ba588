# Writes an SQLite database in full swing until it is killed: python3 writer.py DATABASE JOURNAL-MODE SEED
# What it commits is such that `total` always says how many photos there are.
import random, sqlite3, sys

path, mode, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
random.seed(seed)
db = sqlite3.connect(path, isolation_level=None, timeout=120)
db.execute(f"pragma journal_mode={mode}")
db.execute("pragma synchronous=off")  # a killed program is meant, not a power cut
db.execute("pragma cache_size=40")  # so that pages reach the file before the commit
db.execute("pragma wal_autocheckpoint=200")
db.execute("create table if not exists photo(id integer primary key, rating int, name text, pad blob)")
db.execute("create index if not exists by_rating on photo(rating)")
db.execute("create unique index if not exists by_name on photo(name)")
db.execute("create table if not exists total(n int)")
if not db.execute("select count(*) from total").fetchone()[0]:
    db.execute("insert into total values(0)")
print("ready", flush=True)
turn = 0
while True:
    turn += 1
    db.execute("begin immediate")
    for _ in range(random.randrange(1, 400)):
        pad = random.randbytes(random.randrange(1, 900))
        db.execute("insert into photo(rating, name, pad) values(?, ?, ?)", (turn % 6, random.randbytes(9).hex(), pad))
    db.execute("update photo set rating = ? where id % 7 = ?", (random.randrange(6), random.randrange(7)))
    db.execute("delete from photo where id in (select id from photo order by id limit max(0, (select count(*) from photo) - 9000))")
    db.execute("update total set n = (select count(*) from photo)")
    db.execute("commit")
