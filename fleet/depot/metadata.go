package depot

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/sightline-edge/sightline/updater/publish"
	"github.com/sightline-edge/sightline/updater/trust"
)

// Limits of what is taken, in bytes: more no device would read.
const (
	MaxRoot    = trust.MaxRoot
	MaxTargets = trust.MaxTargets
)

// repository is the metadata that clients are given. It never changes.
type repository struct {
	root     []byte // nil while there is none
	about    trust.Root
	rootEnds time.Time

	targets        []byte // nil while there are none
	targetsVersion int64
	targetsEnds    time.Time
	names          map[string]string // SHA-256 (hex) of each target, by its path
	stale          error             // why the root's keys don't stand behind the targets

	snapshot, timestamp []byte // nil while nothing was signed
}

// Metadata is a file of the repository by its name, as 2.root.json or
// timestamp.json; ErrMissing without.
func (d *Depot) Metadata(name string) ([]byte, error) {
	if !metadataName.MatchString(name) {
		return nil, fmt.Errorf("metadata %.80q: %w", name, ErrMissing)
	}
	b, err := d.top.in(metadataFolder).read(name)
	if err != nil {
		return nil, fmt.Errorf("metadata %s: %w", name, err)
	}
	return b, nil
}

// Root is the newest root.json; nil while there is none.
func (d *Depot) Root() []byte { return bytes.Clone(d.current.Load().root) }

// publishes reports whether the bundle is named by the targets.
func (d *Depot) publishes(b *Bundle) bool {
	return d.current.Load().names[b.Target] == b.Digest
}

// PutRoot takes the first root, version 1, or the next one after the present
// one, which the old and the new root's keys must have signed. Its roles
// snapshot and timestamp must be this depot's keys; see Keys and NextKeys. The
// present one once more is no error. Errors: ErrRefused, ErrFull.
func (d *Depot) PutRoot(root []byte) error {
	d.publishing.Lock()
	defer d.publishing.Unlock()
	if err := d.putRootLocked(root); err != nil {
		return fmt.Errorf("take a root: %w", err)
	}
	c := d.current.Load()
	d.log.Info("root of updates taken", "version", c.about.Version, "fingerprint", c.about.Fingerprint, "until", c.rootEnds)
	return nil
}

func (d *Depot) putRootLocked(root []byte) error {
	now := d.current.Load()
	if now.root != nil && bytes.Equal(root, now.root) {
		return d.renewLocked()
	}
	if len(root) > MaxRoot {
		return refused("it has %d bytes, at most %d will do", len(root), MaxRoot)
	}
	next, err := d.successor(now, root)
	if err != nil {
		return err
	}
	if _, err := d.online.named(next.root); err != nil {
		return err
	}
	name := numbered(next.about.Version, metadata.ROOT)
	if err := d.top.in(metadataFolder).write(name, root, 0o640); err != nil {
		return err
	}
	d.current.Store(next)
	return d.renewLocked()
}

// successor is the repository with the root, if clients would follow it there.
func (d *Depot) successor(now *repository, root []byte) (*repository, error) {
	next := *now
	var err error
	if now.root == nil {
		if _, err = trust.New(root, d.now()); err != nil {
			return nil, refused("%w", err)
		}
	} else if err = follow(now.root, root, d.now()); err != nil {
		return nil, refused("%w", err)
	}
	if err := next.setRoot(root); err != nil {
		return nil, refused("%w", err)
	}
	if now.root == nil && next.about.Version != 1 {
		return nil, refused("it is version %d, and there is none yet: the first is version 1, and each of the others after it", next.about.Version)
	}
	if !d.now().Before(next.rootEnds) {
		return nil, refused("it was good until %s", next.rootEnds.Format(time.RFC3339))
	}
	next.stale = next.behind(d.now())
	return &next, nil
}

// follow goes from a root to the next as a client does.
func follow(from, to []byte, at time.Time) error {
	s, err := trust.New(from, at)
	if err != nil {
		return err
	}
	return s.Got(to)
}

// setRoot reads a root that was verified.
func (r *repository) setRoot(root []byte) error {
	m, err := metadata.Root().FromBytes(root)
	if err != nil {
		return err
	}
	if !m.Signed.ConsistentSnapshot {
		return errors.New("its consistent_snapshot is false: devices that fetch while something is published would see two states mixed")
	}
	about, err := trust.Inspect(root)
	if err != nil {
		return err
	}
	r.root, r.about, r.rootEnds = bytes.Clone(root), about, m.Signed.Expires
	return nil
}

// setTargets reads targets, verified or not.
func (r *repository) setTargets(targets []byte) error {
	m, err := metadata.Targets().FromBytes(targets)
	if err != nil {
		return err
	}
	if m.Signed.Delegations != nil && (len(m.Signed.Delegations.Roles) > 0 || m.Signed.Delegations.SuccinctRoles != nil) {
		return errors.New("it delegates to other roles, whose metadata this fleet doesn't hold")
	}
	r.targets, r.targetsVersion, r.targetsEnds = bytes.Clone(targets), m.Signed.Version, m.Signed.Expires
	r.names = map[string]string{}
	for path, f := range m.Signed.Targets {
		r.names[path] = hex.EncodeToString(f.Hashes["sha256"])
	}
	return nil
}

// behind says why the root's keys don't stand behind the targets; nil if they
// do, or there are none.
func (r *repository) behind(at time.Time) error {
	if r.root == nil || r.targets == nil {
		return nil
	}
	root, err := metadata.Root().FromBytes(r.root)
	if err != nil {
		return err
	}
	targets, err := metadata.Targets().FromBytes(r.targets)
	if err != nil {
		return err
	}
	if err := root.VerifyDelegate(metadata.TARGETS, targets); err != nil {
		return fmt.Errorf("targets %d aren't signed by keys of root %d: %w", r.targetsVersion, r.about.Version, err)
	}
	if !at.Before(r.targetsEnds) {
		return fmt.Errorf("targets %d were good until %s", r.targetsVersion, r.targetsEnds.Format(time.RFC3339))
	}
	return nil
}

// PutTargets takes signed targets, if devices would believe them, and the depot
// holds each bundle that they name. Devices are told at once. The present ones
// once more are no error. Errors: ErrRefused, ErrFull.
func (d *Depot) PutTargets(targets []byte) error {
	d.publishing.Lock()
	defer d.publishing.Unlock()
	if err := d.putTargetsLocked(targets); err != nil {
		return fmt.Errorf("take targets: %w", err)
	}
	c := d.current.Load()
	d.log.Info("targets of updates taken", "version", c.targetsVersion, "bundles", len(c.names), "until", c.targetsEnds)
	return nil
}

func (d *Depot) putTargetsLocked(targets []byte) error {
	now := d.current.Load()
	switch {
	case now.root == nil:
		return refused("there is no root yet: make keys (sightline keys init), and send the root first")
	case bytes.Equal(targets, now.targets) && now.stale == nil:
		return d.renewLocked()
	case len(targets) > MaxTargets:
		return refused("they have %d bytes, at most %d will do", len(targets), MaxTargets)
	}
	next := *now
	if err := next.setTargets(targets); err != nil {
		return refused("%w", err)
	}
	if next.targetsVersion <= now.targetsVersion {
		return refused("they are version %d, and version %d is published: sign them anew over that one", next.targetsVersion, now.targetsVersion)
	}
	if next.stale = next.behind(d.now()); next.stale != nil {
		return refused("%w", next.stale)
	}
	if err := d.signLocked(&next); err != nil {
		return err
	}
	named, err := next.rehearse(d.now())
	if err != nil {
		return refused("%w", err)
	}
	for _, t := range named {
		if err := d.holds(t, now); err != nil {
			return err
		}
	}
	if err := d.top.in(metadataFolder).write(numbered(next.targetsVersion, metadata.TARGETS), targets, 0o640); err != nil {
		return err
	}
	return d.writeLocked(&next)
}

// rehearse walks through the repository as a client does that has the root
// alone, and gives what it may install then.
func (r *repository) rehearse(at time.Time) ([]*trust.Target, error) {
	files, err := publish.Files(r.root, r.targets, r.snapshot, r.timestamp)
	if err != nil {
		return nil, err
	}
	s, err := trust.New(r.root, at)
	if err != nil {
		return nil, err
	}
	for want, more := s.Next(); more; want, more = s.Next() {
		if data, there := files[want.Name]; there {
			err = s.Got(data)
		} else {
			err = s.Missing()
		}
		if err != nil {
			return nil, err
		}
	}
	var named []*trust.Target
	for path := range r.names {
		if err := s.Find(path); err != nil {
			return nil, err
		}
		t, err := s.Found()
		if err != nil {
			return nil, err
		}
		named = append(named, t)
	}
	return named, nil
}

// holds refuses a target that the depot can't serve as it is described. A
// bundle that is published already isn't read again.
func (d *Depot) holds(t *trust.Target, now *repository) error {
	digest := hex.EncodeToString(t.SHA256[:])
	b, err := d.Bundle(digest)
	if errors.Is(err, ErrMissing) {
		return refused("they name %s, and the fleet holds no bundle with SHA-256 %s: send the bundle first", t.Path, digest)
	} else if err != nil {
		return err
	}
	switch {
	case t.Path != b.Target:
		return refused("they name %s, and the bundle with that SHA-256 is %s", t.Path, b.Target)
	case t.Length != b.Size:
		return refused("they say that %s has %d bytes, and it has %d", t.Path, t.Length, b.Size)
	case t.Piece != PieceSize:
		return refused("they say that %s comes in pieces of %d bytes, and it comes in such of %d", t.Path, t.Piece, PieceSize)
	case hex.EncodeToString(t.Pieces[:]) != b.Pieces:
		return refused("the hashes of the pieces of %s aren't those that they state", t.Path)
	case now.names[t.Path] == digest:
		return nil
	}
	return d.whole(digest, b)
}

// whole reads a bundle once more before devices are sent to it.
func (d *Depot) whole(digest string, b *Bundle) error {
	f, err := d.Target(digest)
	if err != nil {
		return err
	}
	defer f.Close()
	p := newPieceHash()
	n, err := f.WriteTo(p)
	if err != nil {
		return fmt.Errorf("read bundle %.12s: %w", digest, err)
	}
	if sum, _ := p.sum(); n != b.Size || hex.EncodeToString(sum) != digest {
		return refused("%s is damaged on the fleet's disk: remove %s/%s/%s there and send the bundle again", b.Target, FolderName, targetsFolder, digest+bundleSuffix)
	}
	return nil
}

// loadLocked reads the repository from disk and completes it.
func (d *Depot) loadLocked() error {
	var r repository
	files := d.top.in(metadataFolder)
	version, err := files.newest(metadata.ROOT)
	if err != nil || version == 0 {
		return err
	}
	root, err := files.read(numbered(version, metadata.ROOT))
	if err != nil {
		return err
	}
	if err := r.setRoot(root); err != nil {
		return fmt.Errorf("root %d: %w", version, err)
	}
	if version, err = files.newest(metadata.TARGETS); err != nil {
		return err
	}
	if version > 0 {
		targets, err := files.read(numbered(version, metadata.TARGETS))
		if err != nil {
			return err
		}
		if err := r.setTargets(targets); err != nil {
			return fmt.Errorf("targets %d: %w", version, err)
		}
	}
	r.stale = r.behind(d.now())
	if err := r.readSigned(files); err != nil {
		return err
	}
	d.current.Store(&r)
	return d.renewLocked()
}
