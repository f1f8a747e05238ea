package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sightline-edge/sightline/fleet"
	"github.com/sightline-edge/sightline/fleet/enroll"
	"github.com/sightline-edge/sightline/fleet/store"
)

// An init that was cut short is finished by the next one, on the authority that
// is there.
func TestInitAgain(t *testing.T) {
	const name = "127.0.0.1"
	for what, prepare := range map[string]func(dir string) error{
		"nothing": func(string) error { return nil },
		"names": func(dir string) error {
			ca := filepath.Join(dir, fleet.CAFolder)
			return errors.Join(os.MkdirAll(ca, 0o700), os.WriteFile(filepath.Join(ca, enroll.NamesFile), []byte(name), 0o644))
		},
		"authority": func(dir string) error {
			_, err := enroll.Init(filepath.Join(dir, fleet.CAFolder), []string{name})
			return err
		},
		"database": func(dir string) error {
			_, err := enroll.Init(filepath.Join(dir, fleet.CAFolder), []string{name})
			if err != nil {
				return err
			}
			st, err := store.Open(filepath.Join(dir, fleet.DatabaseName))
			if err != nil {
				return err
			}
			return st.Close()
		},
		"empty file": func(dir string) error {
			_, err := enroll.Init(filepath.Join(dir, fleet.CAFolder), []string{name})
			return errors.Join(err, os.WriteFile(filepath.Join(dir, fleet.DatabaseName), nil, 0o600))
		},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			if err := prepare(dir); err != nil {
				t.Fatal(err)
			}
			before, _ := fleet.OpenCA(dir)
			if before != nil {
				fails(t, "its certificate authority is there already, for 127.0.0.1: give the same names", "init", "--data", dir, "--name", "other.example")
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // the person's Ctrl-C comes too late
			ca, password, err := fleet.Init(ctx, dir, []string{name})
			if err != nil || password == "" || before != nil && before.Fingerprint() != ca.Fingerprint() {
				t.Fatalf("%q, %v", password, err)
			}
			fails(t, "there is one already", "init", "--data", dir, "--name", name)
			var out output
			if code := run(t.Context(), []string{"user", "list", "--data", dir}, &out, io.Discard); code != 0 || !strings.Contains(out.String(), "admin") {
				t.Errorf("code %d: %s", code, out.String())
			}
		})
	}
}
