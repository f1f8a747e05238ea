// Package publish makes and signs update metadata: the keys and their files,
// roots and their rotation, targets, and what the fleet signs by itself. Nothing
// leaves it that updater/trust wouldn't accept.
package publish

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/sightline-edge/sightline/internal/whole"
)

// PublicKey is a public key as it stands in metadata.
type PublicKey = metadata.Key

// Key is a private key with which metadata is signed.
type Key struct {
	private ed25519.PrivateKey
	Created time.Time
}

// KeyFile describes a key's file without opening it.
type KeyFile struct {
	Public    *PublicKey
	ID        string
	Created   time.Time
	Encrypted bool
}

// ErrPassphrase means that a key's file doesn't open with the passphrase.
var ErrPassphrase = errors.New("the passphrase is wrong, or the file is damaged")

// envelope is what stands in a key's file. Of encrypted and private one is
// there.
type envelope struct {
	KeyType   string          `json:"keytype"`
	Public    *PublicKey      `json:"public"`
	Created   time.Time       `json:"created"`
	Encrypted json.RawMessage `json:"encrypted,omitempty"` // scrypt and secretbox over the seed
	Private   string          `json:"private,omitempty"`   // the seed in hex: keys that a machine signs with by itself
}

// NewKey makes an Ed25519 key.
func NewKey() (*Key, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return &Key{private, time.Now().UTC().Truncate(time.Second)}, nil
}

// Public is the public half.
func (k *Key) Public() *PublicKey {
	p, err := metadata.KeyFromPublicKey(k.private.Public().(ed25519.PublicKey))
	if err != nil {
		panic("BUG: an Ed25519 key is refused: " + err.Error())
	}
	return p
}

// ID is the key's identifier in metadata.
func (k *Key) ID() string { return ID(k.Public()) }

// ID is the identifier of a public key: the SHA-256 of its canonical form, hex.
func ID(p *PublicKey) string {
	id, err := p.ID()
	if err != nil { // only what can't be written as JSON
		return ""
	}
	return id
}

func (k *Key) signer() (signature.Signer, error) { return signature.LoadED25519Signer(k.private) }

// WriteFile writes the key for its owner alone, encrypted with the passphrase;
// an empty passphrase leaves it open, for keys that a machine signs with by
// itself. A file that is there is never overwritten.
func (k *Key) WriteFile(path string, passphrase []byte) error {
	e := envelope{KeyType: metadata.KeyTypeEd25519, Public: k.Public(), Created: k.Created}
	if len(passphrase) == 0 {
		e.Private = hex.EncodeToString(k.private.Seed())
	} else {
		box, err := encrypted.Encrypt(k.private.Seed(), passphrase)
		if err != nil {
			return fmt.Errorf("encrypt the key: %w", err)
		}
		e.Encrypted = box
	}
	text, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return fmt.Errorf("write the key: %w", err)
	}
	err = whole.Create(path, append(text, '\n'), 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("write %s: it is there already, and isn't overwritten", path)
	}
	return err
}

// ReadKey opens a key's file; ErrPassphrase where the passphrase is wrong.
func ReadKey(path string, passphrase []byte) (*Key, error) {
	e, err := readEnvelope(path)
	if err != nil {
		return nil, err
	}
	var seed []byte
	if e.Encrypted != nil {
		if seed, err = encrypted.Decrypt(e.Encrypted, passphrase); err != nil {
			return nil, fmt.Errorf("open the key %s: %w", path, ErrPassphrase)
		}
	} else if seed, err = hex.DecodeString(e.Private); err != nil {
		return nil, fmt.Errorf("open the key %s: it is damaged", path)
	}
	if len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("open the key %s: it is damaged", path)
	}
	k := &Key{ed25519.NewKeyFromSeed(seed), e.Created}
	if k.ID() != ID(e.Public) {
		return nil, fmt.Errorf("open the key %s: its public and its private half don't belong together", path)
	}
	return k, nil
}

// ReadKeyFile describes a key's file. It needs no passphrase.
func ReadKeyFile(path string) (*KeyFile, error) {
	e, err := readEnvelope(path)
	if err != nil {
		return nil, err
	}
	return &KeyFile{e.Public, ID(e.Public), e.Created, e.Encrypted != nil}, nil
}

func readEnvelope(path string) (*envelope, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("open the key: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open the key: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("open the key: others may read %s (its mode is %04o): run chmod 600 on it, and rotate it if anyone could have", path, mode)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var e envelope
	if err := d.Decode(&e); err != nil {
		return nil, fmt.Errorf("open the key %s: it is no key file: %w", path, err)
	}
	if e.KeyType != metadata.KeyTypeEd25519 || e.Public == nil || ID(e.Public) == "" {
		return nil, fmt.Errorf("open the key %s: it is of type %q, ed25519 is known", path, e.KeyType)
	}
	return &e, nil
}
