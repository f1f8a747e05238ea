// Package trust decides which update metadata a device may believe. It follows
// the client workflow of The Update Framework (TUF) on go-tuf's trusted
// metadata, and does no I/O: a Session says which file to fetch and how much of
// it to read at most, is given the bytes, and says what to keep on disk.
//
// The trust begins with the root on the device's own disk, never with one that
// a program carries: a program's root is older than what the device has seen,
// and would accept keys that were revoked since.
package trust

import (
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
)

// What is read at most of a file whose length no other file states, in bytes,
// and how far a session goes.
const (
	MaxRoot      = 512_000
	MaxTimestamp = 16_384
	MaxSnapshot  = 2_000_000
	MaxTargets   = 5_000_000

	// MaxRotations bounds the roots of one refresh. The next refresh goes on
	// where it ended.
	MaxRotations = 256
	// MaxDelegations bounds the roles that one search visits.
	MaxDelegations = 32
)

// Names of the top-level files on disk.
const (
	RootFile      = "root.json"
	TimestampFile = "timestamp.json"
	SnapshotFile  = "snapshot.json"
	TargetsFile   = "targets.json"
)

// Want is a file to fetch. Name stands as it is in a URL and in a folder: what
// is unusual in a role's name is percent-encoded. Max is in bytes.
type Want struct {
	Name string
	Max  int64
}

type file struct {
	name string
	data []byte
}

// A stage is the file that the session waits for.
type stage int

const (
	roots stage = iota + 1
	timestamp
	snapshot
	targets
	delegated
	ready
)

// Session is one refresh and the searches after it. It isn't safe for
// concurrent use.
type Session struct {
	meta  *trustedmetadata.TrustedMetadata
	local map[string][]byte // as on disk; not trusted before its stage
	roles map[string][]byte // delegated roles of this session, by name
	saves []file

	stage     stage
	want      Want
	rotations int
	dropped   bool // a root changed the keys of snapshot or timestamp
	err       error
	search    *search
}

// New starts a session from the root on disk. at is the time that expiry is
// measured by; see Floor.
func New(root []byte, at time.Time) (*Session, error) {
	if err := shape(root, metadata.ROOT); err != nil {
		return nil, refuse(Format, RootFile, err)
	}
	m, err := trustedmetadata.New(root)
	if err != nil {
		s := &Session{}
		return nil, s.explain(RootFile, root, metadata.ROOT, err)
	}
	m.RefTime = at.UTC()
	s := &Session{meta: m, local: map[string][]byte{}, roles: map[string][]byte{}, stage: roots}
	s.wantRoot()
	return s, nil
}

// Floor is the time to measure expiry by: the clock's, unless that lies before
// the last time seen or before the program was built. A clock that starts in
// 1970 so neither locks a device out nor revives what has expired.
func Floor(now, lastSeen, built time.Time) time.Time {
	for _, t := range []time.Time{lastSeen, built} {
		if now.Before(t) {
			now = t
		}
	}
	return now
}

// Load gives the session what is on disk under the name, before the walk. What
// is damaged, expired or signed by a revoked key is skipped when its turn
// comes, as the specification says; it then guards against nothing.
func (s *Session) Load(name string, data []byte) {
	if name != RootFile {
		s.local[name] = data
	}
}

// Next is the file to fetch now; false when the refresh or the search is done
// or was refused. Asked again without an answer it says the same.
func (s *Session) Next() (Want, bool) {
	if s.err != nil || s.stage == ready {
		return Want{}, false
	}
	return s.want, true
}

// Got answers Next. More than Max bytes are an attack, so a source reads one
// more and no further. An error is a *Refusal and ends the session.
func (s *Session) Got(data []byte) error {
	if _, open := s.Next(); !open {
		return s.over()
	}
	if int64(len(data)) > s.want.Max {
		return s.end(refuse(EndlessData, s.want.Name, fmt.Errorf("it goes on after %d bytes, which is all that it may have", s.want.Max)))
	}
	switch s.stage {
	case roots:
		return s.end(s.gotRoot(data))
	case timestamp:
		return s.end(s.gotTimestamp(data))
	case snapshot:
		return s.end(s.gotSnapshot(data))
	case targets:
		return s.end(s.gotTargets(data))
	default:
		return s.end(s.gotDelegated(data))
	}
}

// Missing answers Next where the source has no such file. After the newest
// root that is how it should be; else it is a *Refusal.
func (s *Session) Missing() error {
	if _, open := s.Next(); !open {
		return s.over()
	}
	if s.stage == roots {
		return s.end(s.rootsDone())
	}
	return s.end(refuse(Absent, s.want.Name, fmt.Errorf("the source has no such file, though signed metadata names it")))
}

// Save is the next file to write to disk, in the order in which they must
// appear there; false when there is none now. Each was verified.
func (s *Session) Save() (name string, data []byte, ok bool) {
	if len(s.saves) == 0 {
		return "", nil, false
	}
	f := s.saves[0]
	s.saves = s.saves[1:]
	return f.name, f.data, true
}

// Root describes the root that the session trusts now.
func (s *Session) Root() (Root, error) { return describe(s.meta.Root) }

// Refreshed says whether root, timestamp, snapshot and targets are all there,
// and good at the session's time.
func (s *Session) Refreshed() bool {
	return s.err == nil && (s.stage == ready || s.stage == delegated)
}

// At is the time by which the session measures expiry.
func (s *Session) At() time.Time { return s.meta.RefTime }

func (s *Session) end(err error) error {
	if err != nil {
		s.err = err
	}
	return err
}

func (s *Session) over() error {
	if s.err != nil {
		return s.err
	}
	return fmt.Errorf("answer the session: it waits for no file")
}

func (s *Session) keep(name string, data []byte) {
	s.local[name] = data
	s.saves = append(s.saves, file{name, data})
}

func (s *Session) wantRoot() {
	s.want = Want{strconv.FormatInt(s.meta.Root.Signed.Version+1, 10) + "." + RootFile, MaxRoot}
}

// wants names the next file of a role, by the metadata that states it.
func (s *Session) wants(role string, m *metadata.MetaFiles, most int64) Want {
	name := FileName(role)
	if s.meta.Root.Signed.ConsistentSnapshot {
		name = strconv.FormatInt(m.Version, 10) + "." + name
	}
	if m.Length > 0 {
		most = min(most, m.Length)
	}
	return Want{name, most}
}

// FileName is the name of a role's file on disk.
func FileName(role string) string { return url.PathEscape(role) + ".json" }
