package depot

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Roles that the depot signs for.
var onlineRoles = []string{metadata.SNAPSHOT, metadata.TIMESTAMP}

// nextPrefix begins the file of a key that no root names yet.
const nextPrefix = "next-"

const keyBlock = "PRIVATE KEY" // PKCS #8

// keys are the private keys of each online role: those in use, and those that
// come into use with a root that names them.
type keys struct {
	use, next map[string]ed25519.PrivateKey
}

// OnlineKeys are the public keys that a root must name for its roles snapshot
// and timestamp, each with threshold 1.
type OnlineKeys struct {
	Snapshot  *metadata.Key `json:"snapshot"`
	Timestamp *metadata.Key `json:"timestamp"`
}

// Keys are the depot's keys in use.
func (d *Depot) Keys() (OnlineKeys, error) {
	d.publishing.Lock()
	defer d.publishing.Unlock()
	return public(d.online.use)
}

// NextKeys are keys to change to, as after a theft: they are made if there are
// none yet, and come into use with the first root that names them. One of the
// two may be named alone.
func (d *Depot) NextKeys() (OnlineKeys, error) {
	d.publishing.Lock()
	defer d.publishing.Unlock()
	for _, role := range onlineRoles {
		if d.online.next[role] == nil {
			key, err := d.makeKey(nextPrefix + role)
			if err != nil {
				return OnlineKeys{}, err
			}
			d.online.next[role] = key
		}
	}
	return public(d.online.next)
}

func public(of map[string]ed25519.PrivateKey) (OnlineKeys, error) {
	snapshot, err := tufKey(of[metadata.SNAPSHOT])
	if err != nil {
		return OnlineKeys{}, err
	}
	timestamp, err := tufKey(of[metadata.TIMESTAMP])
	return OnlineKeys{snapshot, timestamp}, err
}

func tufKey(key ed25519.PrivateKey) (*metadata.Key, error) {
	k, err := metadata.KeyFromPublicKey(key.Public())
	if err != nil {
		return nil, fmt.Errorf("describe a key: %w", err)
	}
	return k, nil
}

// openKeys reads the keys, and makes those in use where there are none.
func (d *Depot) openKeys() error {
	d.online = keys{map[string]ed25519.PrivateKey{}, map[string]ed25519.PrivateKey{}}
	for _, role := range onlineRoles {
		key, err := d.readKey(role)
		if errors.Is(err, ErrMissing) {
			key, err = d.makeKey(role)
		}
		if err != nil {
			return err
		}
		d.online.use[role] = key
		switch key, err = d.readKey(nextPrefix + role); {
		case err == nil:
			d.online.next[role] = key
		case !errors.Is(err, ErrMissing):
			return err
		}
	}
	return nil
}

func (d *Depot) readKey(name string) (ed25519.PrivateKey, error) {
	folder := d.top.in(keysFolder)
	path := folder.file(name + ".pem")
	st, err := os.Stat(path)
	if err != nil {
		return nil, explain(err)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("others may read or write the key %s (mode %04o): chmod 600 it, and change it if somebody may have copied it (sightline keys rotate online)", path, st.Mode().Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != keyBlock {
		return nil, fmt.Errorf("read the key %s: it is no key (PEM, PKCS #8)", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read the key %s: %w", path, err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("read the key %s: it is no Ed25519 key", path)
	}
	return key, nil
}

func (d *Depot) makeKey(name string) (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the key %s: %w", name, err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("make the key %s: %w", name, err)
	}
	return key, d.top.in(keysFolder).write(name+".pem", pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der}), 0o600)
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
		if r.Threshold != 1 {
			return nil, refused("its role %s needs %d signatures, and this fleet has one key for it", role, r.Threshold)
		}
		names := func(key ed25519.PrivateKey) bool {
			public, err := tufKey(key)
			if err != nil {
				return false
			}
			id, err := public.ID()
			return err == nil && slices.Contains(r.KeyIDs, id)
		}
		switch {
		case names(k.use[role]):
		case k.next[role] != nil && names(k.next[role]):
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
		if err := folder.rename(folder.file(nextPrefix+role+".pem"), role+".pem"); err != nil {
			return fmt.Errorf("take the next key for %s into use: %w", role, err)
		}
		d.online.use[role] = d.online.next[role]
		delete(d.online.next, role)
		d.log.Info("key of updates changed", "role", role)
	}
	return nil
}
