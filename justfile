# What one needs to work here. `just` lists the recipes.

# Lists the recipes.
default:
    @just --list

# Builds the program as it is released.
build:
    cargo build --release -p icecore

# Builds the packages of a release for this machine, into target/packages.
packages:
    packaging/build.sh

# Runs all tests; installs the servers that they need, the first time.
test *ARGS:
    bash test.sh {{ARGS}}

# Runs what must pass before a change is merged.
ci:
    .ci/run

# Formats and lints.
lint:
    cargo fmt --all
    cargo clippy --workspace --all-targets -- -D warnings

# Writes the documentation of the library.
doc:
    cargo doc --no-deps -p icecore-engine --open

# Builds the guide as a book, into target/book; needs mdBook.
book:
    bash docs/book.sh

# Runs each fuzz target for some seconds.
fuzz SECONDS="60" *TARGETS:
    bash fuzz/smoke.sh {{SECONDS}} {{TARGETS}}

# Measures the loops of the engine.
bench *ARGS:
    cargo bench -p icecore-benches {{ARGS}}

# Counts the instructions of each loop and compares them with those that are written down.
instructions:
    bash benches/instructions.sh

# Runs the tests in a bare Debian, as root and as a plain user; needs root and debootstrap.
bare FOLDER:
    sudo testkit/bare.sh {{FOLDER}}

# Writes the expected output of the program's transcripts again; look at the difference before you commit.
transcripts:
    TRYCMD=overwrite bash test.sh -p icecore --test it transcripts::
