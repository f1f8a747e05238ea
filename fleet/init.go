package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sightline-edge/sightline/fleet/enroll"
	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/internal/auth"
)

// FirstUser is the name of the administrator that Init makes.
const FirstUser = "admin"

// Init makes a fleet in the directory: certificate authority, database, and the
// first administrator, whose password it returns and keeps nowhere. The names
// are those by which devices and people reach the fleet. A directory that
// holds a fleet is an error.
func Init(ctx context.Context, dir string, names []string) (ca *enroll.CA, password string, err error) {
	path := filepath.Join(dir, DatabaseName)
	if _, err := os.Stat(path); err == nil {
		return nil, "", fmt.Errorf("make a fleet in %s: there is one already: serve it, or choose another --data directory", dir)
	}
	if ca, err = enroll.Init(filepath.Join(dir, CAFolder), names); err != nil {
		return nil, "", err
	}
	// A crash from here on leaves a CA without a fleet, which OpenStore tells
	// apart; the next Init says what to delete.
	st, err := store.Open(path)
	if err != nil {
		return nil, "", err
	}
	password, err = AddUser(ctx, st, FirstUser, auth.Admin)
	return ca, password, errors.Join(err, st.Close())
}

// ErrName is AddUser's for a name that nobody can log in by.
var ErrName = errors.New("a name has 1 to 64 bytes, printable, without spaces at its ends")

const maxName = 64 // bytes, as the login takes them

// AddUser adds a person with a generated password, which is returned and kept
// nowhere. Errors: ErrName, store.ErrExists.
func AddUser(ctx context.Context, st *store.Store, name string, role auth.Role) (password string, err error) {
	if name == "" || len(name) > maxName || !utf8.ValidString(name) || name != strings.TrimSpace(name) ||
		strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return "", fmt.Errorf("add user %q: %w", name, ErrName)
	}
	password = auth.NewPassword()
	hash, err := auth.Hash(ctx, password)
	if err != nil {
		return "", err
	}
	return password, st.AddUser(ctx, store.User{Name: name, Role: role, Hash: hash, Created: st.Now()})
}
