package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/internal/whole"
	"github.com/sightline-edge/sightline/updater/publish"
)

// Names in a folder of keys. Beside them lie the roots, as 1.root.json, and the
// targets that were published last.
const (
	keySuffix     = ".key"
	nextSuffix    = ".next.key" // made, but no root that is valid names it yet
	retiredFolder = "retired"
	onlineFolder  = "online" // only where there is no fleet
	targetsName   = "targets"
	targetsRecord = "targets.json"
)

var (
	rootNames = []string{"root-1", "root-2", "root-3"}
	rootFile  = regexp.MustCompile(`^([1-9][0-9]{0,8})\.root\.json$`)
)

// defaultKeys is where keys are looked for.
const defaultKeys = "sightline-keys"

// keyDir is a folder with some of the keys, perhaps all.
type keyDir struct {
	path string
	pass *passphrases
}

func (d *keyDir) file(name string) string { return filepath.Join(d.path, name) }

// noRoot is the folder that has no root; it is an fs.ErrNotExist.
type noRoot string

func (dir noRoot) Error() string {
	return fmt.Sprintf("open %s: there is no root (1.root.json): make keys with sightline keys init, or copy the file from where they were made", string(dir))
}

func (noRoot) Unwrap() error { return fs.ErrNotExist }

// newestRoot is the newest root in the folder.
func (d *keyDir) newestRoot() ([]byte, error) {
	entries, err := os.ReadDir(d.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open the keys: %w", err)
	}
	newest := 0
	for _, e := range entries {
		if m := rootFile.FindStringSubmatch(e.Name()); m != nil {
			n, _ := strconv.Atoi(m[1]) // at most nine digits
			newest = max(newest, n)
		}
	}
	if newest == 0 {
		return nil, noRoot(d.path)
	}
	root, err := os.ReadFile(d.file(fmt.Sprintf("%d.root.json", newest)))
	if err != nil {
		return nil, fmt.Errorf("open the keys: %w", err)
	}
	return root, nil
}

// keepRoot adds a root to the folder, and takes keys into use that it names.
func (d *keyDir) keepRoot(root []byte) error {
	v, err := publish.VersionOf(root)
	if err != nil {
		return err
	}
	if err := whole.Write(d.file(fmt.Sprintf("%d.root.json", v)), root, 0o644); err != nil {
		return err
	}
	return d.promote(root)
}

// promote puts next keys in the place of those that a root names no longer.
func (d *keyDir) promote(root []byte) error {
	roles, err := publish.RolesOf(root)
	if err != nil {
		return err
	}
	for _, name := range append(slices.Clone(rootNames), targetsName) {
		next, err := publish.ReadKeyFile(d.file(name + nextSuffix))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if !names(roles, next.ID) {
			continue
		}
		old, err := publish.ReadKeyFile(d.file(name + keySuffix))
		if err == nil {
			if err := os.MkdirAll(d.file(retiredFolder), 0o700); err != nil {
				return err
			}
			if err := os.Rename(d.file(name+keySuffix), d.file(filepath.Join(retiredFolder, name+"-"+old.ID[:8]+keySuffix))); err != nil {
				return err
			}
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := whole.Rename(d.file(name+nextSuffix), d.file(name+keySuffix)); err != nil {
			return err
		}
	}
	return nil
}

func names(r publish.Roles, id string) bool {
	for _, k := range append(slices.Clone(r.Root), r.Targets, r.Online.Snapshot, r.Online.Timestamp) {
		if k != nil && publish.ID(k) == id {
			return true
		}
	}
	return false
}

// have are the root keys in the folder, those to come included, by the name
// under which they are asked for.
func (d *keyDir) have() (map[string]*publish.KeyFile, error) {
	all := map[string]*publish.KeyFile{}
	for _, name := range rootNames {
		for _, suffix := range []string{keySuffix, nextSuffix} {
			k, err := publish.ReadKeyFile(d.file(name + suffix))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			all[name+suffix] = k
		}
	}
	return all, nil
}

// sign adds the signatures to a root that are missing and that the keys in the
// folder can give, and says who else must.
func (d *keyDir) sign(ctx context.Context, current, next []byte) (signed []byte, left string, err error) {
	have, err := d.have()
	if err != nil {
		return nil, "", err
	}
	for _, file := range sortedKeys(have) {
		before, after, err := publish.Needs(current, next)
		if err != nil {
			return nil, "", err
		}
		id := have[file].ID
		helps := func(n publish.Need) bool {
			return n.Left() > 0 && slices.Contains(n.Keys, id) && !slices.Contains(n.Signed, id)
		}
		if !helps(before) && !helps(after) {
			continue
		}
		k, err := d.pass.open(ctx, d.file(file))
		if errors.Is(err, errSkipped) {
			continue
		}
		if err != nil {
			return nil, "", err
		}
		if next, err = publish.SignRoot(next, k); err != nil {
			return nil, "", err
		}
	}
	before, after, err := publish.Needs(current, next)
	if err != nil {
		return nil, "", err
	}
	if n := max(before.Left(), after.Left()); n > 0 {
		left = fmt.Sprintf("%d more of the root keys must sign it", n)
	}
	return next, left, nil
}

func sortedKeys(m map[string]*publish.KeyFile) []string {
	var all []string
	for name := range m {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// oldKey is the ID of the key that is to go from a role.
func (d *keyDir) oldKey(name, given string, root []byte) (string, error) {
	roles, err := publish.RolesOf(root)
	if err != nil {
		return "", err
	}
	if name == targetsName {
		return publish.ID(roles.Targets), nil
	}
	if given != "" {
		for _, k := range roles.Root {
			if strings.HasPrefix(publish.ID(k), given) {
				return publish.ID(k), nil
			}
		}
		return "", cli.Usage("--old %s is the ID of no root key: sightline keys show lists them", given)
	}
	if k, err := publish.ReadKeyFile(d.file(name + keySuffix)); err == nil {
		return k.ID, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	have, err := d.have()
	if err != nil {
		return "", err
	}
	var gone []string
	for _, k := range roles.Root {
		if !slices.ContainsFunc(sortedKeys(have), func(n string) bool { return have[n].ID == publish.ID(k) }) {
			gone = append(gone, publish.ID(k))
		}
	}
	if len(gone) == 1 {
		return gone[0], nil
	}
	return "", fmt.Errorf("rotate %s: %s isn't in %s, so which key is it? Say it with --old: %s", name, name+keySuffix, d.path, strings.Join(gone, " or "))
}
