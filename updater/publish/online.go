package publish

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/sightline-edge/sightline/internal/whole"
	"github.com/sightline-edge/sightline/updater/trust"
)

// Online signs snapshot and timestamp, unattended. Whoever steals its keys can
// keep updates away, but can't make one: targets and root stay out of reach.
type Online struct {
	Snapshot, Timestamp *Key
}

// OpenOnline reads the two keys in a folder, and makes them where there are
// none. Only their owner may read them; they aren't encrypted, since nobody is
// there to say a passphrase.
func OpenOnline(dir string) (*Online, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the online keys: %w", err)
	}
	var o Online
	for name, k := range map[string]**Key{"snapshot.key": &o.Snapshot, "timestamp.key": &o.Timestamp} {
		path := filepath.Join(dir, name)
		_, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			if *k, err = NewKey(); err == nil {
				err = (*k).WriteFile(path, nil)
			}
		} else if err == nil {
			*k, err = ReadKey(path, nil)
		}
		if err != nil {
			return nil, fmt.Errorf("open the online keys: %w", err)
		}
	}
	return &o, nil
}

// RenewOnline makes two new keys in a folder, in the place of those that were
// stolen; the old ones stay beside them as *.old. Until a root names the new
// ones, what they sign is refused.
func RenewOnline(dir string) (*Online, error) {
	for _, name := range []string{"snapshot.key", "timestamp.key"} {
		path := filepath.Join(dir, name)
		if err := whole.Rename(path, path+".old"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("renew the online keys: %w", err)
		}
	}
	return OpenOnline(dir)
}

// Keys are the public halves.
func (o *Online) Keys() OnlineKeys { return OnlineKeys{o.Snapshot.Public(), o.Timestamp.Public()} }

// Sign makes the snapshot and the timestamp for root and targets. The previous
// two, nil at first, give the versions; the snapshot stays as it is where it is
// good for half its life and says the same. Both are signed by this very
// moment, now, and are accepted by updater/trust up to the snapshot, or there
// is an error: that the targets are good is for CheckTargets to say.
func (o *Online) Sign(root, targets, prevSnapshot, prevTimestamp []byte, now time.Time) (snapshot, timestamp []byte, err error) {
	snap, err := o.snapshot(root, targets, prevSnapshot, now)
	if err != nil {
		return nil, nil, fmt.Errorf("sign the snapshot: %w", err)
	}
	version, err := VersionOf(snap)
	if err != nil {
		return nil, nil, fmt.Errorf("sign the timestamp: %w", err)
	}
	t := metadata.Timestamp(now.Add(TimestampLife).UTC().Truncate(time.Second))
	if t.Signed.Version, err = after(prevTimestamp); err != nil {
		return nil, nil, fmt.Errorf("sign the timestamp: %w", err)
	}
	t.Signed.Meta[trust.SnapshotFile] = metaFile(version, snap)
	stamp, err := sign(t, []*Key{o.Timestamp})
	if err != nil {
		return nil, nil, fmt.Errorf("sign the timestamp: %w", err)
	}
	files, err := Files(root, targets, snap, stamp)
	if err != nil {
		return nil, nil, err
	}
	if err := accepted(root, files, now, func(s *trust.Session) bool { return s.Versions()[trust.SnapshotFile] != 0 }); err != nil {
		return nil, nil, fmt.Errorf("sign snapshot and timestamp: what came out isn't accepted; does the root name the fleet's present keys? %w", err)
	}
	return snap, stamp, nil
}

func (o *Online) snapshot(root, targets, previous []byte, now time.Time) ([]byte, error) {
	version, err := VersionOf(targets)
	if err != nil {
		return nil, err
	}
	want := metaFile(version, targets)
	m := metadata.Snapshot(now.Add(SnapshotLife).UTC().Truncate(time.Second))
	if previous != nil {
		p, err := metadata.Snapshot().FromBytes(previous)
		if err != nil {
			return nil, fmt.Errorf("read the previous one: %w", err)
		}
		r, err := metadata.Root().FromBytes(root)
		if err != nil {
			return nil, err
		}
		has := p.Signed.Meta[trust.TargetsFile]
		if has != nil && has.Version == want.Version && has.Hashes.Equal(want.Hashes) &&
			now.Add(SnapshotLife/2).Before(p.Signed.Expires) && r.VerifyDelegate(metadata.SNAPSHOT, p) == nil {
			return previous, nil
		}
	}
	if m.Signed.Version, err = after(previous); err != nil {
		return nil, err
	}
	m.Signed.Meta[trust.TargetsFile] = want
	return sign(m, []*Key{o.Snapshot})
}

func metaFile(version int64, data []byte) *metadata.MetaFiles {
	sum := sha256.Sum256(data)
	return &metadata.MetaFiles{Version: version, Length: int64(len(data)), Hashes: metadata.Hashes{"sha256": sum[:]}}
}

func after(previous []byte) (int64, error) {
	if previous == nil {
		return 1, nil
	}
	v, err := VersionOf(previous)
	return v + 1, err
}

// Files are the four files under the names by which devices fetch them.
func Files(root, targets, snapshot, timestamp []byte) (map[string][]byte, error) {
	files := map[string][]byte{trust.TimestampFile: timestamp}
	for name, data := range map[string][]byte{trust.RootFile: root, trust.TargetsFile: targets, trust.SnapshotFile: snapshot} {
		v, err := VersionOf(data)
		if err != nil {
			return nil, fmt.Errorf("name %s: %w", name, err)
		}
		files[strconv.FormatInt(v, 10)+"."+name] = data
	}
	return files, nil
}

// Check runs a device's refresh, from a root that it may have, over files under
// the names by which they are fetched: a *trust.Refusal where it would refuse.
func Check(root []byte, files map[string][]byte, at time.Time) error {
	return accepted(root, files, at, func(s *trust.Session) bool { return s.Refreshed() })
}

// accepted goes on until enough is true.
func accepted(root []byte, files map[string][]byte, at time.Time, enough func(*trust.Session) bool) error {
	s, err := trust.New(root, at)
	if err != nil {
		return err
	}
	for !enough(s) {
		want, more := s.Next()
		if !more {
			return fmt.Errorf("the refresh ended early")
		}
		if data, ok := files[want.Name]; ok {
			err = s.Got(data)
		} else {
			err = s.Missing()
		}
		if err != nil {
			return err
		}
	}
	return nil
}
