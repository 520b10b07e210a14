"""Makes the client packages, one language after the other; a language whose toolchain is missing is left out and named.

    python clients/make.py [LANGUAGE …]

Exit code 1 when one that could be made was not.
"""

import sys
import time

import contracts
from languages import Language, languages, ran


def make(language: Language) -> bool:
    """Make one package; says what it does. False: it failed."""
    if language.missing:
        print(f"{language.name}: left out: {language.missing}")
        return True
    begin = time.monotonic()
    succeeded, said = ran(language.make, language.client_folder)
    took_s = time.monotonic() - begin
    if not succeeded:
        print(f"{said}\n{language.name}: {' '.join(language.make)} failed")
        return False
    print(f"{language.name}: made in {took_s:.0f} s")
    return True


def main() -> None:
    """The command line."""
    contracts.make(contracts.OUT, [])
    made = [make(language) for language in languages(sys.argv[1:])]
    sys.exit(0 if all(made) else 1)


if __name__ == "__main__":
    main()
