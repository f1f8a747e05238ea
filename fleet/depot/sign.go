package depot

import (
	"crypto"
	"crypto/ed25519"
	"fmt"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

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

// renewLocked signs what is due. Without targets there is nothing to sign for.
func (d *Depot) renewLocked() error {
	next := *d.current.Load()
	whole, due := next.due(d.now())
	if !due {
		return nil
	}
	if err := d.signLocked(&next, whole); err != nil {
		return err
	}
	return d.writeLocked(&next)
}

// due reports whether the timestamp must be signed anew, and the snapshot with
// it.
func (r *repository) due(at time.Time) (snapshot, timestamp bool) {
	if r.root == nil || r.targets == nil {
		return false, false
	}
	aged := func(ends time.Time, life time.Duration) bool { // or signed while the clock was ahead
		left := ends.Sub(at)
		return left < life/2 || left > life
	}
	if aged(r.snapshotEnds, snapshotLife) || !r.describes(r.snapshot, metadata.SNAPSHOT, r.targetsVersion) {
		return true, true
	}
	return false, aged(r.timestampEnds, timestampLife) || !r.describes(r.timestamp, metadata.TIMESTAMP, r.signed.snapshot)
}

// describes reports whether snapshot or timestamp is signed by a key of the
// root and names that version of the file below it.
func (r *repository) describes(text []byte, role string, version int64) bool {
	root, err := metadata.Root().FromBytes(r.root)
	if err != nil {
		return false
	}
	if role == metadata.SNAPSHOT {
		m, err := metadata.Snapshot().FromBytes(text)
		return err == nil && root.VerifyDelegate(role, m) == nil && names(m.Signed.Meta[trust.TargetsFile], version, r.targets)
	}
	m, err := metadata.Timestamp().FromBytes(text)
	return err == nil && root.VerifyDelegate(role, m) == nil && names(m.Signed.Meta[trust.SnapshotFile], version, r.snapshot)
}

func names(f *metadata.MetaFiles, version int64, text []byte) bool {
	return f != nil && f.Version == version && f.VerifyLengthHashes(text) == nil
}

// signLocked makes the next timestamp, and the next snapshot if it is meant
// too.
func (d *Depot) signLocked(r *repository, snapshot bool) error {
	now := d.now().UTC().Truncate(time.Second)
	if snapshot {
		r.signed.snapshot++
		r.snapshotEnds = now.Add(snapshotLife)
		m := metadata.Snapshot(r.snapshotEnds)
		m.Signed.Version = r.signed.snapshot
		below, err := describe(r.targetsVersion, r.targets)
		if err != nil {
			return err
		}
		m.Signed.Meta = map[string]*metadata.MetaFiles{trust.TargetsFile: below}
		if r.snapshot, err = signed(m, d.online.use[metadata.SNAPSHOT]); err != nil {
			return fmt.Errorf("sign the snapshot: %w", err)
		}
	}
	r.signed.timestamp++
	r.timestampEnds = now.Add(timestampLife)
	m := metadata.Timestamp(r.timestampEnds)
	m.Signed.Version = r.signed.timestamp
	below, err := describe(r.signed.snapshot, r.snapshot)
	if err != nil {
		return err
	}
	m.Signed.Meta = map[string]*metadata.MetaFiles{trust.SnapshotFile: below}
	if r.timestamp, err = signed(m, d.online.use[metadata.TIMESTAMP]); err != nil {
		return fmt.Errorf("sign the timestamp: %w", err)
	}
	return nil
}

func describe(version int64, text []byte) (*metadata.MetaFiles, error) {
	t, err := metadata.TargetFile().FromBytes("", text, "sha256")
	if err != nil {
		return nil, err
	}
	m := metadata.MetaFile(version)
	m.Length, m.Hashes = t.Length, t.Hashes
	return m, nil
}

func signed[T metadata.Roles](m *metadata.Metadata[T], key ed25519.PrivateKey) ([]byte, error) {
	s, err := signature.LoadSigner(key, crypto.Hash(0))
	if err != nil {
		return nil, err
	}
	if _, err := m.Sign(s); err != nil {
		return nil, err
	}
	return m.ToBytes(true)
}

// writeLocked puts what was signed in the place of what is there. The timestamp
// is what leads clients to the rest, so it comes last: until it is there they
// see what was before.
func (d *Depot) writeLocked(r *repository) error {
	files := d.top.in(metadataFolder)
	if was := d.current.Load(); r.signed.snapshot != was.signed.snapshot {
		if err := files.write(numbered(r.signed.snapshot, metadata.SNAPSHOT), r.snapshot, 0o640); err != nil {
			return err
		}
	}
	if err := files.write(trust.TimestampFile, r.timestamp, 0o640); err != nil {
		return err
	}
	d.current.Store(r)
	return nil
}
