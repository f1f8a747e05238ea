// Package mutant makes bundles that are wrong on purpose: with other weights,
// labels, pre-processing or thresholds, with a model that is slow, with bytes
// changed on the way. Tests, the demonstration and the bench let them loose on
// what must refuse them. The same seed gives the same bundle.
package mutant

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/goccy/go-yaml"

	"github.com/sightline-edge/sightline/updater/bundle"
)

// Mutation says what was done to a bundle.
type Mutation struct {
	Kind Kind
	Seed uint64
	What string // for people
}

func (m Mutation) String() string { return fmt.Sprintf("%s %d (%s)", m.Kind, m.Seed, m.What) }

// Write makes the folder to, which must not exist, a copy of the bundle's
// folder from with one mutation. The manifest's checksum of the model fits the
// changed model, the golden vectors stay as they were.
func Write(from fs.FS, to string, kind Kind, seed uint64) (Mutation, error) {
	m := mutation{seed: seed, rnd: rand.New(rand.NewPCG(seed, 0x6d7574616e74))}
	err := m.read(from)
	if err == nil {
		err = m.apply(kind)
	}
	if err == nil {
		err = m.write(from, to)
	}
	if err != nil {
		return Mutation{}, fmt.Errorf("mutate a bundle (%s, seed %d): %w", kind, seed, err)
	}
	return Mutation{Kind: kind, Seed: seed, What: m.what}, nil
}

// WriteSlow makes a copy of the bundle whose model answers the same but takes
// about factor times as long.
func WriteSlow(from fs.FS, to string, factor int) error {
	var m mutation
	err := m.read(from)
	if err == nil {
		m.model, err = Slow(m.model, factor)
	}
	if err == nil {
		err = m.write(from, to)
	}
	if err != nil {
		return fmt.Errorf("make a slow bundle: %w", err)
	}
	return nil
}

// Tamper flips one bit of a file, such as a bundle's archive, somewhere in its
// middle half, and gives the place.
func Tamper(path string, seed uint64) (offset int64, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("tamper with a file: %w", err)
	}
	if len(b) < 4 {
		return 0, fmt.Errorf("tamper with a file: %s has only %d bytes", path, len(b))
	}
	rnd := rand.New(rand.NewPCG(seed, 1))
	at := len(b)/4 + rnd.IntN(len(b)/2)
	b[at] ^= 1 << rnd.IntN(8)
	if err := os.WriteFile(path, b, 0o644); err != nil {
		return 0, fmt.Errorf("tamper with a file: %w", err)
	}
	return int64(at), nil
}

func (m *mutation) read(from fs.FS) (err error) {
	if m.manifest, err = bundle.Read(from); err != nil {
		return err
	}
	m.model, err = fs.ReadFile(from, m.manifest.Model.File)
	return err
}

// SetVersion gives the bundle in a folder another name or version; "" keeps
// what there is. A publisher's tools refuse one version twice.
func SetVersion(dir, name, version string) error {
	var m mutation
	err := m.read(os.DirFS(dir))
	if err == nil {
		if name != "" {
			m.manifest.Name = name
		}
		if version != "" {
			m.manifest.Version = version
		}
		err = m.finish(dir)
	}
	if err != nil {
		return fmt.Errorf("give bundle %s another version: %w", dir, err)
	}
	return nil
}

func (m *mutation) write(from fs.FS, to string) error {
	if err := os.CopyFS(to, from); err != nil {
		return err
	}
	return m.finish(to)
}

// finish writes model and manifest into the folder.
func (m *mutation) finish(dir string) error {
	sum := sha256.Sum256(m.model)
	m.manifest.Model.SHA256 = hex.EncodeToString(sum[:])
	var b bytes.Buffer
	if err := yaml.NewEncoder(&b).Encode(m.manifest); err != nil {
		return err
	}
	if _, err := bundle.Parse(b.Bytes()); err != nil {
		return err
	}
	for name, data := range map[string][]byte{m.manifest.Model.File: m.model, bundle.ManifestFile: b.Bytes()} {
		if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
