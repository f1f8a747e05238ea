package main

import (
	"bufio"
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sightline-edge/sightline/updater/publish"
)

// A person types passphrases: too short, then two that differ, then one twice;
// later a wrong one, the right one, and nothing.
func TestPassphrasesAreAskedFor(t *testing.T) {
	theirs, tty := terminal(t)
	var said bytes.Buffer
	a := &passphrases{p: &prompt{in: bufio.NewReader(tty), fd: int(tty.Fd()), terminal: true, out: &said, err: &said}}
	types := func(lines ...string) {
		t.Helper()
		if _, err := theirs.WriteString(strings.Join(lines, "\n") + "\n"); err != nil {
			t.Fatal(err)
		}
	}
	types("short", "four words nobody", "four words anybody", "four words nobody", "four words nobody")
	pass, err := a.made(t.Context(), "root-1")
	if err != nil || string(pass) != "four words nobody" {
		t.Fatalf("%q, %v\n%s", pass, err, said.String())
	}
	for _, want := range []string{"New passphrase of root-1: ", "at least 12 characters", "Once more: ", "They differ."} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("not said: %q\n%s", want, said.String())
		}
	}
	if strings.Contains(said.String(), "nobody\n") {
		t.Errorf("the passphrase was shown: %s", said.String())
	}

	k, err := publish.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "root-1.key")
	if err := k.WriteFile(path, pass); err != nil {
		t.Fatal(err)
	}
	types("wrong", "four words nobody")
	if got, err := a.open(t.Context(), path); err != nil || got.ID() != k.ID() {
		t.Errorf("%v", err)
	}
	types("")
	if _, err := a.open(t.Context(), path); !errors.Is(err, errSkipped) {
		t.Errorf("left out: %v", err)
	}
}
