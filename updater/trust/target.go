package trust

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"path"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Target is a file that signed metadata names.
type Target struct {
	Path   string
	Length int64    // bytes
	SHA256 [32]byte // zero where the metadata states only another hash
	Piece  int      // bytes of a piece; 0 where the metadata states no pieces
	Pieces [32]byte // SHA-256 of the list of the pieces' SHA-256

	Hashes map[string][]byte // all of them, by algorithm
}

// Stored is where a repository of files keeps the target below its targets
// folder: with the hash before the name, so that an old and a new file under one
// path don't overwrite each other.
func (t *Target) Stored() string {
	sum := t.Hashes["sha256"]
	if sum == nil {
		sum = t.Hashes["sha512"]
	}
	dir, base := path.Split(t.Path)
	return dir + hex.EncodeToString(sum) + "." + base
}

// custom is what a bundle's target carries beside length and hashes.
type custom struct {
	Sightline struct {
		Piece  int    `json:"piece"`
		Pieces string `json:"pieces"`
	} `json:"sightline"`
}

// Custom is the custom field of a bundle's target in targets.json.
func Custom(piece int, pieces [32]byte) json.RawMessage {
	var c custom
	c.Sightline.Piece, c.Sightline.Pieces = piece, hex.EncodeToString(pieces[:])
	text, err := json.Marshal(c)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return text
}

func newTarget(name string, f *metadata.TargetFiles) *Target {
	t := &Target{Path: name, Length: f.Length, Hashes: map[string][]byte{}}
	for algorithm, sum := range f.Hashes {
		t.Hashes[algorithm] = sum
	}
	if sum := f.Hashes["sha256"]; len(sum) == sha256.Size {
		t.SHA256 = [32]byte(sum)
	}
	if f.Custom == nil {
		return t
	}
	var c custom
	if json.Unmarshal(*f.Custom, &c) != nil { // another program's target
		return t
	}
	sum, err := hex.DecodeString(c.Sightline.Pieces)
	if err == nil && len(sum) == sha256.Size && c.Sightline.Piece > 0 {
		t.Piece, t.Pieces = c.Sightline.Piece, [32]byte(sum)
	}
	return t
}

// Copy copies a target's content and verifies it on the way: a *Refusal where
// it is longer, shorter or other than the signed metadata says. What was
// written before that must not be used.
func (t *Target) Copy(w io.Writer, r io.Reader) error {
	sums := map[string]hash.Hash{}
	all := []io.Writer{w}
	for algorithm := range t.Hashes {
		switch algorithm {
		case "sha256":
			sums[algorithm] = sha256.New()
		case "sha512":
			sums[algorithm] = sha512.New()
		default:
			return refuse(Format, t.Path, fmt.Errorf("its hash is by %q, which this program doesn't know", algorithm))
		}
		all = append(all, sums[algorithm])
	}
	if len(sums) == 0 {
		return refuse(Format, t.Path, fmt.Errorf("the metadata states no hash of it"))
	}
	n, err := io.Copy(io.MultiWriter(all...), io.LimitReader(r, t.Length))
	if err != nil {
		return err
	}
	if n < t.Length {
		return refuse(WrongLength, t.Path, fmt.Errorf("it has %d bytes, signed metadata says %d", n, t.Length))
	}
	if more, _ := io.ReadFull(r, make([]byte, 1)); more > 0 {
		return refuse(EndlessData, t.Path, fmt.Errorf("it goes on after %d bytes, where signed metadata says that it ends", t.Length))
	}
	for algorithm, h := range sums {
		if string(h.Sum(nil)) != string(t.Hashes[algorithm]) {
			return refuse(WrongHash, t.Path, fmt.Errorf("its %s isn't the one that signed metadata states", algorithm))
		}
	}
	return nil
}

// Root is what people know a root by.
type Root struct {
	Version     int64
	Fingerprint string // SHA-256 of its signed part in canonical form, hex
	Expires     time.Time
	Consistent  bool // files carry their version in their name, targets their hash
	Threshold   int
	Keys        []string // key IDs that may sign the next one
}

// Inspect verifies that a root is signed by itself, and describes it.
func Inspect(root []byte) (Root, error) {
	s, err := New(root, time.Time{})
	if err != nil {
		return Root{}, err
	}
	return s.Root()
}

func describe(m *metadata.Metadata[metadata.RootType]) (Root, error) {
	text, err := cjson.EncodeCanonical(m.Signed)
	if err != nil {
		return Root{}, fmt.Errorf("describe the root: %w", err)
	}
	sum := sha256.Sum256(text)
	r := m.Signed.Roles[metadata.ROOT]
	return Root{
		Version: m.Signed.Version, Fingerprint: hex.EncodeToString(sum[:]), Expires: m.Signed.Expires,
		Consistent: m.Signed.ConsistentSnapshot, Threshold: r.Threshold, Keys: r.KeyIDs,
	}, nil
}

// TargetOf is a target as metadata states it. Nothing is verified.
func TargetOf(name string, f *metadata.TargetFiles) Target { return *newTarget(name, f) }
