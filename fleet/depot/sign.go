package depot

import (
	"fmt"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/sightline-edge/sightline/updater/publish"
	"github.com/sightline-edge/sightline/updater/trust"
)

// renew signs anew what would end. What goes wrong is told by State, and tried
// again the next time.
func (d *Depot) renew() {
	d.publishing.Lock()
	defer d.publishing.Unlock()
	if d.current.Load().root == nil && d.trouble.Load() != nil {
		if err := d.loadLocked(); err != nil {
			d.fails("read the metadata of updates", err)
			return
		}
	}
	if err := d.renewLocked(); err != nil {
		d.fails("sign the metadata of updates anew", err)
		return
	}
	d.trouble.Store(nil)
}

// renewLocked takes the keys into use that the root names, and signs what is
// due: what is less than half good still, and what doesn't fit root and targets.
// Without targets there is nothing to sign for.
func (d *Depot) renewLocked() error {
	next := *d.current.Load()
	if next.root == nil {
		return nil
	}
	use, err := d.online.named(next.root)
	if err != nil {
		return err
	}
	if err := d.useLocked(use); err != nil {
		return err
	}
	if !next.due(d.now()) {
		return nil
	}
	if err := d.signLocked(&next); err != nil {
		return err
	}
	return d.writeLocked(&next)
}

func (r *repository) due(at time.Time) bool {
	if r.targets == nil {
		return false
	}
	return aged(r.snapshot, publish.SnapshotLife, at) || aged(r.timestamp, publish.TimestampLife, at) || !r.fits()
}

// aged reports whether half a life is over, or more than one is left because
// the clock stood ahead when it was signed.
func aged(text []byte, life time.Duration, at time.Time) bool {
	ends, err := publish.Expires(text)
	left := ends.Sub(at)
	return err != nil || left < life/2 || left > life
}

// fits reports whether timestamp and snapshot are signed by keys of the root,
// and lead to the targets.
func (r *repository) fits() bool {
	root, err := metadata.Root().FromBytes(r.root)
	if err != nil {
		return false
	}
	s, err := metadata.Snapshot().FromBytes(r.snapshot)
	if err != nil || root.VerifyDelegate(metadata.SNAPSHOT, s) != nil || !names(s.Signed.Meta[trust.TargetsFile], r.targetsVersion, r.targets) {
		return false
	}
	t, err := metadata.Timestamp().FromBytes(r.timestamp)
	return err == nil && root.VerifyDelegate(metadata.TIMESTAMP, t) == nil && names(t.Signed.Meta[trust.SnapshotFile], s.Signed.Version, r.snapshot)
}

func names(f *metadata.MetaFiles, version int64, text []byte) bool {
	return f != nil && f.Version == version && f.VerifyLengthHashes(text) == nil
}

// signLocked makes the next timestamp, and the next snapshot where it must be
// another.
func (d *Depot) signLocked(r *repository) error {
	previous := r.snapshot
	if previous != nil && aged(previous, publish.SnapshotLife, d.now()) {
		version, err := publish.VersionOf(previous)
		if err == nil {
			previous, err = unsigned(version)
		}
		if err != nil {
			return err
		}
	}
	snapshot, timestamp, err := d.online.signer().Sign(r.root, r.targets, previous, r.timestamp, d.now())
	if err != nil {
		return err
	}
	r.snapshot, r.timestamp = snapshot, timestamp
	return nil
}

// writeLocked puts what was signed in the place of what is there. The timestamp
// is what leads clients to the rest, so it comes last: until it is there they
// see what was before.
func (d *Depot) writeLocked(r *repository) error {
	files := d.top.in(metadataFolder)
	version, err := publish.VersionOf(r.snapshot)
	if err != nil {
		return err
	}
	if was := d.current.Load(); string(was.snapshot) != string(r.snapshot) {
		if err := files.write(numbered(version, metadata.SNAPSHOT), r.snapshot, 0o640); err != nil {
			return err
		}
	}
	if err := files.write(trust.TimestampFile, r.timestamp, 0o640); err != nil {
		return err
	}
	d.current.Store(r)
	return nil
}

// unsigned is a snapshot that nobody signed: the next one has the next number.
func unsigned(version int64) ([]byte, error) {
	m := metadata.Snapshot()
	m.Signed.Version = version
	return m.ToBytes(false)
}

// readSigned reads what was signed here before. What is missing or damaged is
// signed anew, with a number above every one that was used.
func (r *repository) readSigned(files folder) error {
	version, err := files.newest(metadata.SNAPSHOT)
	if err != nil || version == 0 {
		return err
	}
	if r.snapshot, err = files.read(numbered(version, metadata.SNAPSHOT)); err != nil {
		return err
	}
	if _, err := metadata.Snapshot().FromBytes(r.snapshot); err != nil {
		if r.snapshot, err = unsigned(version); err != nil {
			return err
		}
	}
	if r.timestamp, err = files.read(trust.TimestampFile); err == nil {
		_, err = metadata.Timestamp().FromBytes(r.timestamp)
	}
	if err != nil { // the count is lost, and can't have come so far
		r.timestamp = fmt.Appendf(nil, `{"signed":{"version":%d}}`, time.Now().Unix())
	}
	return nil
}
