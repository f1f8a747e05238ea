package depot

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/sightline-edge/sightline/updater/publish"
)

// PublicKey is a public key as it stands in metadata.
type PublicKey = publish.PublicKey

// Roles that the depot signs for.
var onlineRoles = []string{metadata.SNAPSHOT, metadata.TIMESTAMP}

const (
	keySuffix = ".key"
	// nextPrefix begins the file of a key that no root names yet.
	nextPrefix = "next-"
)

// keys are those of each online role: in use, and to come into use with a root
// that names them.
type keys struct {
	use, next map[string]*publish.Key
}

// Keys are the depot's public keys in use, which a root must name for its roles
// snapshot and timestamp, each with threshold 1.
func (d *Depot) Keys() publish.OnlineKeys {
	d.publishing.Lock()
	defer d.publishing.Unlock()
	return d.online.signer().Keys()
}

// NextKeys are keys to change to, as after a theft: they are made if there are
// none yet, and come into use with the first root that names them, both or
// one alone.
func (d *Depot) NextKeys() (publish.OnlineKeys, error) {
	d.publishing.Lock()
	defer d.publishing.Unlock()
	for _, role := range onlineRoles {
		if d.online.next[role] == nil {
			key, err := d.makeKey(nextPrefix + role)
			if err != nil {
				return publish.OnlineKeys{}, err
			}
			d.online.next[role] = key
		}
	}
	return publish.OnlineKeys{Snapshot: d.online.next[metadata.SNAPSHOT].Public(), Timestamp: d.online.next[metadata.TIMESTAMP].Public()}, nil
}

func (k keys) signer() *publish.Online {
	return &publish.Online{Snapshot: k.use[metadata.SNAPSHOT], Timestamp: k.use[metadata.TIMESTAMP]}
}

// openKeys reads the keys, and makes those in use where there are none.
func (d *Depot) openKeys() error {
	d.online = keys{map[string]*publish.Key{}, map[string]*publish.Key{}}
	for _, role := range onlineRoles {
		key, err := d.readKey(role)
		if errors.Is(err, os.ErrNotExist) {
			key, err = d.makeKey(role)
		}
		if err != nil {
			return err
		}
		d.online.use[role] = key
		switch key, err = d.readKey(nextPrefix + role); {
		case err == nil:
			d.online.next[role] = key
		case !errors.Is(err, os.ErrNotExist):
			return err
		}
	}
	return nil
}

func (d *Depot) readKey(name string) (*publish.Key, error) {
	return publish.ReadKey(d.top.in(keysFolder).file(name+keySuffix), nil)
}

// makeKey makes a key that is on disk whole or not at all.
func (d *Depot) makeKey(name string) (*publish.Key, error) {
	key, err := publish.NewKey()
	if err != nil {
		return nil, err
	}
	path := d.top.in(keysFolder).file(name + keySuffix)
	if err := d.top.step.Do("make", path, func() error { return key.WriteFile(path, nil) }); err != nil {
		return nil, fmt.Errorf("make the key %s: %w", name, explain(err))
	}
	return key, nil
}

// named says for each role whether the root names the next key and no longer
// the one in use; a role with neither is an error.
func (k keys) named(root []byte) (next map[string]bool, err error) {
	m, err := metadata.Root().FromBytes(root)
	if err != nil {
		return nil, err
	}
	next = map[string]bool{}
	for _, role := range onlineRoles {
		r := m.Signed.Roles[role]
		switch {
		case r.Threshold != 1:
			return nil, refused("its role %s needs %d signatures, and this fleet has one key for it", role, r.Threshold)
		case slices.Contains(r.KeyIDs, k.use[role].ID()):
		case k.next[role] != nil && slices.Contains(r.KeyIDs, k.next[role].ID()):
			next[role] = true
		default:
			return nil, refused("its role %s names none of this fleet's keys: make it with those that the fleet tells (sightline keys init --fleet)", role)
		}
	}
	return next, nil
}

// useLocked takes the next keys of these roles into use.
func (d *Depot) useLocked(next map[string]bool) error {
	folder := d.top.in(keysFolder)
	for _, role := range onlineRoles {
		if !next[role] {
			continue
		}
		if err := folder.step.Rename(folder.file(nextPrefix+role+keySuffix), folder.file(role+keySuffix)); err != nil {
			return fmt.Errorf("take the next key for %s into use: %w", role, err)
		}
		d.online.use[role] = d.online.next[role]
		delete(d.online.next, role)
		d.log.Info("key of updates changed", "role", role)
	}
	return nil
}
