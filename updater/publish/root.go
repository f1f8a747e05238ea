package publish

import (
	"fmt"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/sightline-edge/sightline/updater/trust"
)

// How long what is signed is good. The offline ones are as rare as a person's
// patience asks; a timestamp ends soon, because it bounds how long somebody who
// holds updates back stays unseen.
const (
	RootLife      = 2 * 365 * 24 * time.Hour
	TargetsLife   = 365 * 24 * time.Hour
	SnapshotLife  = 30 * 24 * time.Hour
	TimestampLife = 7 * 24 * time.Hour
)

// RootThreshold is how many of the root keys must sign a root.
const RootThreshold = 2

// Roles are the keys of a root, by what they sign.
type Roles struct {
	Root    []*PublicKey
	Targets *PublicKey
	Online  OnlineKeys
}

// OnlineKeys are the public keys of the roles that the fleet signs by itself,
// as GET /v1/updates/keys gives them.
type OnlineKeys struct {
	Snapshot  *PublicKey `json:"snapshot"`
	Timestamp *PublicKey `json:"timestamp"`
}

// NewRoot is a first root, signed by the given keys. It needs RootThreshold of
// the root keys.
func NewRoot(r Roles, expires time.Time, signers ...*Key) ([]byte, error) {
	m := metadata.Root(expires.UTC().Truncate(time.Second))
	m.Signed.Roles[metadata.ROOT].Threshold = RootThreshold
	add := func(role string, k *PublicKey) error {
		if k == nil {
			return fmt.Errorf("make the root: the key of %s is missing", role)
		}
		if err := m.Signed.AddKey(k, role); err != nil {
			return fmt.Errorf("make the root: %w", err)
		}
		return nil
	}
	for _, k := range r.Root {
		if err := add(metadata.ROOT, k); err != nil {
			return nil, err
		}
	}
	for role, k := range map[string]*PublicKey{
		metadata.TARGETS: r.Targets, metadata.SNAPSHOT: r.Online.Snapshot, metadata.TIMESTAMP: r.Online.Timestamp,
	} {
		if err := add(role, k); err != nil {
			return nil, err
		}
	}
	data, err := sign(m, signers)
	if err != nil {
		return nil, err
	}
	if _, err := trust.Inspect(data); err != nil {
		return nil, fmt.Errorf("make the root: %w", err)
	}
	return data, nil
}

// Change is one key of a root that gives way to another. Role is root, targets,
// snapshot or timestamp; Old is the ID of the key that goes.
type Change struct {
	Role string
	Old  string
	New  *PublicKey
}

// NextRoot is the root after current, with the changes made, and not yet
// signed. Without changes only its date is new.
func NextRoot(current []byte, expires time.Time, changes ...Change) ([]byte, error) {
	if _, err := trust.Inspect(current); err != nil {
		return nil, fmt.Errorf("make the next root: %w", err)
	}
	m, err := metadata.Root().FromBytes(current)
	if err != nil {
		return nil, fmt.Errorf("make the next root: %w", err)
	}
	m.Signed.Version++
	m.Signed.Expires = expires.UTC().Truncate(time.Second)
	m.ClearSignatures()
	for _, c := range changes {
		if slices.Contains(m.Signed.Roles[c.Role].KeyIDs, ID(c.New)) {
			return nil, fmt.Errorf("make the next root: the new key of %s is one of its keys already", c.Role)
		}
		if err := m.Signed.RevokeKey(c.Old, c.Role); err != nil {
			return nil, fmt.Errorf("make the next root: take the old key from %s: %w", c.Role, err)
		}
		if err := m.Signed.AddKey(c.New, c.Role); err != nil {
			return nil, fmt.Errorf("make the next root: give the new key to %s: %w", c.Role, err)
		}
	}
	return sign(m, nil)
}

// SignRoot adds signatures to a root. A key that has signed already signs no
// second time.
func SignRoot(root []byte, signers ...*Key) ([]byte, error) {
	m, err := metadata.Root().FromBytes(root)
	if err != nil {
		return nil, fmt.Errorf("sign the root: %w", err)
	}
	return sign(m, signers)
}

// Need says how many signatures a root has and needs, by the keys of one root.
type Need struct {
	Keys      []string // IDs that may sign
	Signed    []string // those that have
	Threshold int
}

// Left is how many signatures are missing.
func (n Need) Left() int { return max(0, n.Threshold-len(n.Signed)) }

// Needs says which signatures the next root has and needs: by the keys of the
// current one, and by its own.
func Needs(current, next []byte) (before, after Need, err error) {
	a, err := metadata.Root().FromBytes(current)
	if err != nil {
		return before, after, fmt.Errorf("look at the root: %w", err)
	}
	b, err := metadata.Root().FromBytes(next)
	if err != nil {
		return before, after, fmt.Errorf("look at the next root: %w", err)
	}
	return need(a, b), need(b, b), nil
}

func need(by, of *metadata.Metadata[metadata.RootType]) Need {
	r := by.Signed.Roles[metadata.ROOT]
	n := Need{Keys: r.KeyIDs, Threshold: r.Threshold}
	for _, id := range r.KeyIDs { // one by one: a root that this key alone may sign
		one := *by
		one.Signed.Roles = map[string]*metadata.Role{metadata.ROOT: {KeyIDs: []string{id}, Threshold: 1}}
		if one.VerifyDelegate(metadata.ROOT, of) == nil {
			n.Signed = append(n.Signed, id)
		}
	}
	return n
}

// CheckRoot says whether devices that hold the current root accept next after
// it: a *trust.Refusal if not.
func CheckRoot(current, next []byte) error {
	s, err := trust.New(current, time.Time{})
	if err != nil {
		return fmt.Errorf("check the next root: %w", err)
	}
	if err := s.Got(next); err != nil {
		return fmt.Errorf("check the next root: %w", err)
	}
	return nil
}

// CheckRules says whether a root changes nothing but keys for keys and its date
// against the one before. A second key for a role, or a lower threshold, gives
// somebody a say that nobody had; no command here makes such a root, so one that
// is put before a person to be signed isn't what they are told.
func CheckRules(current, next []byte) error {
	a, err := metadata.Root().FromBytes(current)
	if err != nil {
		return fmt.Errorf("look at the root: %w", err)
	}
	b, err := metadata.Root().FromBytes(next)
	if err != nil {
		return fmt.Errorf("look at the next root: %w", err)
	}
	for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
		was, is := a.Signed.Roles[role], b.Signed.Roles[role]
		switch {
		case was == nil || is == nil:
			return fmt.Errorf("look at the next root: it has no role %s", role)
		case was.Threshold != is.Threshold:
			return fmt.Errorf("look at the next root: for the role %s %d must sign, and it says %d", role, was.Threshold, is.Threshold)
		case len(was.KeyIDs) != len(is.KeyIDs):
			return fmt.Errorf("look at the next root: the role %s has %d keys, and it names %d", role, len(was.KeyIDs), len(is.KeyIDs))
		}
		seen := map[string]bool{}
		for _, id := range is.KeyIDs { // a key under two names takes the place of somebody else's
			k := b.Signed.Keys[id]
			if k == nil || ID(k) != id || seen[k.Value.PublicKey] {
				return fmt.Errorf("look at the next root: the key %.16s of the role %s isn't what its name says, or stands there twice", id, role)
			}
			seen[k.Value.PublicKey] = true
		}
	}
	if a.Signed.ConsistentSnapshot != b.Signed.ConsistentSnapshot {
		return fmt.Errorf("look at the next root: its consistent_snapshot is %v", b.Signed.ConsistentSnapshot)
	}
	return nil
}

// RolesOf are the keys that a root names.
func RolesOf(root []byte) (Roles, error) {
	m, err := metadata.Root().FromBytes(root)
	if err != nil {
		return Roles{}, fmt.Errorf("read the root: %w", err)
	}
	var r Roles
	for _, id := range m.Signed.Roles[metadata.ROOT].KeyIDs {
		r.Root = append(r.Root, m.Signed.Keys[id])
	}
	one := func(role string) *PublicKey {
		if ids := m.Signed.Roles[role].KeyIDs; len(ids) > 0 {
			return m.Signed.Keys[ids[0]]
		}
		return nil
	}
	r.Targets = one(metadata.TARGETS)
	r.Online = OnlineKeys{one(metadata.SNAPSHOT), one(metadata.TIMESTAMP)}
	return r, nil
}

// sign adds the signatures and writes the file.
func sign[T metadata.Roles](m *metadata.Metadata[T], signers []*Key) ([]byte, error) {
	for _, k := range signers {
		if slices.ContainsFunc(m.Signatures, func(s metadata.Signature) bool { return s.KeyID == k.ID() }) {
			continue
		}
		s, err := k.signer()
		if err != nil {
			return nil, fmt.Errorf("sign: %w", err)
		}
		if _, err := m.Sign(s); err != nil {
			return nil, fmt.Errorf("sign: %w", err)
		}
	}
	data, err := m.ToBytes(false)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return data, nil
}

// Expires is until when a metadata file of any kind is good.
func Expires(data []byte) (time.Time, error) {
	h, err := header(data)
	return h.Signed.Expires, err
}

// VersionOf is the version of a metadata file of any kind. Nothing is verified.
func VersionOf(data []byte) (int64, error) {
	h, err := header(data)
	return h.Signed.Version, err
}
