package trust

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

func (s *Session) gotRoot(data []byte) error {
	if err := shape(data, metadata.ROOT); err != nil {
		return refuse(Format, s.want.Name, err)
	}
	before := s.meta.Root
	if _, err := s.meta.UpdateRoot(data); err != nil {
		return s.explain(s.want.Name, data, metadata.ROOT, err)
	}
	for _, role := range []string{metadata.TIMESTAMP, metadata.SNAPSHOT} {
		s.dropped = s.dropped || keysChanged(before, s.meta.Root, role)
	}
	s.saves = append(s.saves, file{RootFile, data})
	s.rotations++
	if s.rotations == MaxRotations {
		return s.rootsDone()
	}
	s.wantRoot()
	return nil
}

func keysChanged(a, b *metadata.Metadata[metadata.RootType], role string) bool {
	x, y := a.Signed.Roles[role], b.Signed.Roles[role]
	return x.Threshold != y.Threshold || !slices.Equal(slices.Sorted(slices.Values(x.KeyIDs)), slices.Sorted(slices.Values(y.KeyIDs)))
}

// rootsDone goes on to the timestamp. The newest root must be good today; those
// before it need not.
func (s *Session) rootsDone() error {
	if root := s.meta.Root.Signed; root.IsExpired(s.meta.RefTime) {
		return refuse(Expired, RootFile, ended(root.Expires, s.meta.RefTime, "the owners of the root keys must sign a new one (sightline keys rotate)"))
	}
	// Whoever stole a key of timestamp or snapshot may have signed version
	// 4,000,000,000, so that all that come after it look old. A root that
	// changes those keys ends that: what they signed is forgotten.
	if s.dropped {
		delete(s.local, TimestampFile)
		delete(s.local, SnapshotFile)
	}
	if local := s.local[TimestampFile]; local != nil && shape(local, metadata.TIMESTAMP) == nil {
		_, _ = s.meta.UpdateTimestamp(local) // a bad one is skipped, an expired one still guards against older ones
	}
	s.stage, s.want = timestamp, Want{TimestampFile, MaxTimestamp}
	return nil
}

func (s *Session) gotTimestamp(data []byte) error {
	if err := shape(data, metadata.TIMESTAMP); err != nil {
		return refuse(Format, TimestampFile, err)
	}
	_, err := s.meta.UpdateTimestamp(data)
	var same *metadata.ErrEqualVersionNumber
	switch {
	case errors.As(err, &same): // the one on disk stays, whatever this one says
		if s.meta.Timestamp.Signed.IsExpired(s.meta.RefTime) {
			return s.frozen()
		}
	case err != nil:
		return s.explain(TimestampFile, data, metadata.TIMESTAMP, err)
	default:
		s.keep(TimestampFile, data)
	}
	return s.timestampDone()
}

func (s *Session) frozen() error {
	return refuse(Freeze, TimestampFile, ended(s.meta.Timestamp.Signed.Expires, s.meta.RefTime,
		"either the fleet signs no new ones, or somebody keeps them away, or this device's clock is wrong"))
}

func (s *Session) timestampDone() error {
	m := s.meta.Timestamp.Signed.Meta[SnapshotFile]
	if local := s.local[SnapshotFile]; local != nil && shape(local, metadata.SNAPSHOT) == nil {
		// An old one that isn't the one wanted still guards against older ones.
		if _, err := s.meta.UpdateSnapshot(local, true); err == nil && m.VerifyLengthHashes(local) == nil {
			return s.snapshotDone()
		}
	}
	s.stage, s.want = snapshot, s.wants(metadata.SNAPSHOT, m, MaxSnapshot)
	return nil
}

func (s *Session) gotSnapshot(data []byte) error {
	if err := s.promised(data, metadata.SNAPSHOT, s.meta.Timestamp.Signed.Meta[SnapshotFile], nil); err != nil {
		return err
	}
	if _, err := s.meta.UpdateSnapshot(data, false); err != nil {
		return s.explain(s.want.Name, data, metadata.SNAPSHOT, err)
	}
	s.keep(SnapshotFile, data)
	return s.snapshotDone()
}

func (s *Session) snapshotDone() error {
	m := s.meta.Snapshot.Signed.Meta[TargetsFile]
	if m == nil {
		return refuse(Format, SnapshotFile, fmt.Errorf("it names no %s", TargetsFile))
	}
	if local := s.local[TargetsFile]; local != nil && shape(local, metadata.TARGETS) == nil {
		if _, err := s.meta.UpdateTargets(local); err == nil {
			s.stage = ready
			return nil
		}
	}
	s.stage, s.want = targets, s.wants(metadata.TARGETS, m, MaxTargets)
	return nil
}

func (s *Session) gotTargets(data []byte) error {
	if err := s.promised(data, metadata.TARGETS, s.meta.Snapshot.Signed.Meta[TargetsFile], nil); err != nil {
		return err
	}
	if _, err := s.meta.UpdateTargets(data); err != nil {
		return s.explain(s.want.Name, data, metadata.TARGETS, err)
	}
	s.keep(TargetsFile, data)
	s.stage = ready
	return nil
}

// promised checks a file against the length, hashes and version that other
// signed metadata states of it, and that it has the right shape. by is the
// delegator of a delegated role, nil for the root.
func (s *Session) promised(data []byte, role string, m *metadata.MetaFiles, by *metadata.Metadata[metadata.TargetsType]) error {
	if m.Length > 0 && int64(len(data)) != m.Length {
		return s.another(data, role, m, by, refuse(WrongLength, s.want.Name, fmt.Errorf("it has %d bytes, signed metadata says %d", len(data), m.Length)))
	}
	if err := m.VerifyLengthHashes(data); err != nil {
		return s.another(data, role, m, by, refuse(WrongHash, s.want.Name, fmt.Errorf("its hash isn't the one that signed metadata states: it was changed on the way")))
	}
	kind := role
	if by != nil {
		kind = metadata.TARGETS
	}
	if err := shape(data, kind); err != nil {
		return refuse(Format, s.want.Name, err)
	}
	return nil
}

// another tells a file that was changed from one that is rightly signed but
// belongs to another moment, which is what mix-and-match means.
func (s *Session) another(data []byte, role string, m *metadata.MetaFiles, by *metadata.Metadata[metadata.TargetsType], changed *Refusal) error {
	kind := role
	if by != nil {
		kind = metadata.TARGETS
	}
	if shape(data, kind) != nil {
		return changed
	}
	h, err := headOf(data)
	if err != nil || h.Signed.Version == m.Version || s.signed(data, role, kind, by) != nil {
		return changed
	}
	return refuse(MixAndMatch, s.want.Name, fmt.Errorf("it is version %d, which belongs with other files; version %d belongs here", h.Signed.Version, m.Version))
}

// signed verifies the signatures alone.
func (s *Session) signed(data []byte, role, kind string, by *metadata.Metadata[metadata.TargetsType]) error {
	if kind == metadata.SNAPSHOT {
		m, err := metadata.Snapshot().FromBytes(data)
		if err != nil {
			return err
		}
		return s.meta.Root.VerifyDelegate(role, m)
	}
	m, err := metadata.Targets().FromBytes(data)
	if err != nil {
		return err
	}
	if by != nil {
		return by.VerifyDelegate(role, m)
	}
	return s.meta.Root.VerifyDelegate(role, m)
}

func ended(expires, at time.Time, hint string) error {
	return fmt.Errorf("it was good until %s, and it is %s: %s", expires.UTC().Format(time.RFC3339), at.UTC().Format(time.RFC3339), hint)
}

// Versions are the versions of the top-level files that the session trusts
// now, by file name; those not loaded are missing.
func (s *Session) Versions() map[string]int64 {
	v := map[string]int64{RootFile: s.meta.Root.Signed.Version}
	if s.meta.Timestamp != nil {
		v[TimestampFile] = s.meta.Timestamp.Signed.Version
	}
	if s.meta.Snapshot != nil {
		v[SnapshotFile] = s.meta.Snapshot.Signed.Version
	}
	for role, t := range s.meta.Targets {
		v[FileName(role)] = t.Signed.Version
	}
	return v
}

// Ends is the earliest moment at which one of the top-level files expires.
func (s *Session) Ends() time.Time {
	end := s.meta.Root.Signed.Expires
	if s.meta.Timestamp != nil && s.meta.Timestamp.Signed.Expires.Before(end) {
		end = s.meta.Timestamp.Signed.Expires
	}
	if s.meta.Snapshot != nil && s.meta.Snapshot.Signed.Expires.Before(end) {
		end = s.meta.Snapshot.Signed.Expires
	}
	if t := s.meta.Targets[metadata.TARGETS]; t != nil && t.Signed.Expires.Before(end) {
		end = t.Signed.Expires
	}
	return end
}
