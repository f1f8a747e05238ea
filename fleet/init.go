package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
// are those by which devices and people reach the fleet. What an Init that was
// cut short has left is used; a fleet that has users is an error. It isn't
// interrupted by ctx: half a fleet is of no use to anybody.
func Init(ctx context.Context, dir string, names []string) (ca *enroll.CA, password string, err error) {
	ctx = context.WithoutCancel(ctx)
	path := filepath.Join(dir, DatabaseName)
	if has, err := hasUsers(ctx, path); err != nil {
		return nil, "", err
	} else if has {
		return nil, "", fmt.Errorf("make a fleet in %s: there is one already: serve it, or choose another --data directory", dir)
	}
	ca, err = enroll.OpenCA(filepath.Join(dir, CAFolder))
	switch {
	case errors.Is(err, os.ErrNotExist):
		ca, err = enroll.Init(filepath.Join(dir, CAFolder), names)
	case err == nil:
		err = sameNames(ca, names)
	}
	if err != nil {
		return nil, "", fmt.Errorf("make a fleet in %s: %w", dir, err)
	}
	st, err := store.Open(path)
	if err != nil {
		return nil, "", err
	}
	password, err = AddUser(ctx, st, FirstUser, auth.Admin)
	return ca, password, errors.Join(err, st.Close())
}

// hasUsers reports whether anybody could log in at the database; one that
// isn't there has nobody.
func hasUsers(ctx context.Context, path string) (bool, error) {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	st, err := store.Open(path)
	if err != nil {
		return false, err
	}
	users, err := st.Users(ctx)
	return len(users) > 0, errors.Join(err, st.Close())
}

// sameNames refuses other names than those that an earlier Init has kept.
func sameNames(ca *enroll.CA, names []string) error {
	given, err := enroll.CheckNames(names)
	if err != nil {
		return err
	}
	if kept := ca.Names(); !slices.Equal(kept, given) {
		return fmt.Errorf("its certificate authority is there already, for %s: give the same names, and change them later in %s/%s",
			strings.Join(kept, ", "), CAFolder, enroll.NamesFile)
	}
	return nil
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
