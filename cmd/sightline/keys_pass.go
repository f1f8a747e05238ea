package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/updater/publish"
)

// minPassphrase is in characters. Whoever has the file can try as fast as they
// can compute; scrypt makes each try take a tenth of a second.
const minPassphrase = 12

// errSkipped means that the person left a key out.
var errSkipped = errors.New("left out")

// passphrases asks for them, or takes the one of a file for all keys.
type passphrases struct {
	p    *prompt
	file string // --passphrase-file
}

func (a *passphrases) fromFile() (string, error) {
	text, err := readSmall(a.file, maxSmallText)
	if err != nil {
		return "", fmt.Errorf("read the passphrase: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSuffix(line, "\r"), nil
}

// made asks for the passphrase of a new key, twice.
func (a *passphrases) made(ctx context.Context, name string) ([]byte, error) {
	if a.file != "" {
		text, err := a.fromFile()
		if err == nil && len([]rune(text)) < minPassphrase {
			err = fmt.Errorf("the passphrase in %s has less than %d characters", a.file, minPassphrase)
		}
		return []byte(text), err
	}
	if !a.p.terminal {
		return nil, cli.Usage("there is no terminal to ask for the passphrase of %s: give --passphrase-file", name)
	}
	for {
		first, err := a.p.secret(ctx, fmt.Sprintf("New passphrase of %s: ", name))
		if err != nil {
			return nil, fmt.Errorf("read the passphrase: %w", err)
		}
		if len([]rune(first)) < minPassphrase {
			fmt.Fprintf(a.p.err, "It needs at least %d characters: four words that nobody would put together, say.\n", minPassphrase)
			continue
		}
		again, err := a.p.secret(ctx, "Once more: ")
		if err != nil {
			return nil, fmt.Errorf("read the passphrase: %w", err)
		}
		if first == again {
			return []byte(first), nil
		}
		fmt.Fprintln(a.p.err, "They differ.")
	}
}

// open opens a key's file. Where a person answers with nothing it is
// errSkipped.
func (a *passphrases) open(ctx context.Context, path string) (*publish.Key, error) {
	if a.file != "" {
		text, err := a.fromFile()
		if err != nil {
			return nil, err
		}
		return publish.ReadKey(path, []byte(text))
	}
	name := strings.TrimSuffix(filepath.Base(path), keySuffix)
	if !a.p.terminal {
		return nil, cli.Usage("there is no terminal to ask for the passphrase of %s: give --passphrase-file", name)
	}
	for {
		text, err := a.p.secret(ctx, fmt.Sprintf("Passphrase of %s (nothing to leave it out): ", name))
		if err != nil {
			return nil, fmt.Errorf("read the passphrase: %w", err)
		}
		if text == "" {
			return nil, errSkipped
		}
		k, err := publish.ReadKey(path, []byte(text))
		if !errors.Is(err, publish.ErrPassphrase) {
			return k, err
		}
		fmt.Fprintln(a.p.err, "It doesn't open with this one.")
	}
}
