package publish

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/updater/trust"
)

type headerOf struct {
	Signed struct {
		Version int64     `json:"version"`
		Expires time.Time `json:"expires"`
	} `json:"signed"`
}

func header(data []byte) (h headerOf, err error) {
	if err = json.Unmarshal(data, &h); err != nil {
		err = fmt.Errorf("read the metadata: %w", err)
	}
	return h, err
}

// ErrTaken means that another file has been published under the same name and
// version. Versions don't change their content: make a new one.
var ErrTaken = errors.New("another file was published under this name and version")

// AddTarget is targets.json with one more target, signed. targets is the
// current one, nil for the first. The same target again is no error.
func AddTarget(targets, root []byte, path string, length int64, sha256, pieces [32]byte, expires time.Time, signers ...*Key) ([]byte, error) {
	m, err := nextTargets(targets, root, expires)
	if err != nil {
		return nil, fmt.Errorf("publish %s: %w", path, err)
	}
	custom := trust.Custom(bundle.PieceSize, pieces)
	f := &metadata.TargetFiles{Length: length, Hashes: metadata.Hashes{"sha256": sha256[:]}, Custom: &custom, Path: path}
	if has := m.Signed.Targets[path]; has != nil && !has.Equal(*f) {
		return nil, fmt.Errorf("publish %s: %w: raise the version in the manifest", path, ErrTaken)
	}
	m.Signed.Targets[path] = f
	return signTargets(m, root, signers)
}

// RemoveTarget is targets.json without a target, signed. Devices that run the
// bundle keep it; none takes it anew.
func RemoveTarget(targets, root []byte, path string, expires time.Time, signers ...*Key) ([]byte, error) {
	m, err := nextTargets(targets, root, expires)
	if err != nil {
		return nil, fmt.Errorf("take back %s: %w", path, err)
	}
	if m.Signed.Targets[path] == nil {
		return nil, fmt.Errorf("take back %s: it isn't published", path)
	}
	delete(m.Signed.Targets, path)
	return signTargets(m, root, signers)
}

// RenewTargets is targets.json with the same targets and a new date, signed:
// by a new key after the root gave the role one.
func RenewTargets(targets, root []byte, expires time.Time, signers ...*Key) ([]byte, error) {
	m, err := nextTargets(targets, root, expires)
	if err != nil {
		return nil, fmt.Errorf("renew the targets: %w", err)
	}
	return signTargets(m, root, signers)
}

func nextTargets(targets, root []byte, expires time.Time) (*metadata.Metadata[metadata.TargetsType], error) {
	if _, err := trust.Inspect(root); err != nil {
		return nil, err
	}
	m := metadata.Targets(expires)
	if targets != nil {
		var err error
		if m, err = metadata.Targets().FromBytes(targets); err != nil {
			return nil, fmt.Errorf("read the current targets: %w", err)
		}
		m.Signed.Version++
	}
	m.Signed.Expires = expires.UTC().Truncate(time.Second)
	m.ClearSignatures()
	return m, nil
}

func signTargets(m *metadata.Metadata[metadata.TargetsType], root []byte, signers []*Key) ([]byte, error) {
	data, err := sign(m, signers)
	if err != nil {
		return nil, err
	}
	return data, CheckTargets(root, nil, data)
}

// CheckTargets says whether targets is signed as the root asks, and newer than
// the one before it where there is one.
func CheckTargets(root, previous, targets []byte) error {
	if _, err := trust.Inspect(root); err != nil {
		return fmt.Errorf("check the targets: %w", err)
	}
	r, err := metadata.Root().FromBytes(root)
	if err != nil {
		return fmt.Errorf("check the targets: %w", err)
	}
	m, err := metadata.Targets().FromBytes(targets)
	if err != nil {
		return fmt.Errorf("check the targets: %w", err)
	}
	if err := r.VerifyDelegate(metadata.TARGETS, m); err != nil {
		return fmt.Errorf("check the targets: they aren't signed by the targets key of root %d: %w", r.Signed.Version, err)
	}
	if previous == nil {
		return nil
	}
	if before, err := VersionOf(previous); err != nil {
		return fmt.Errorf("check the targets: %w", err)
	} else if m.Signed.Version <= before {
		return &trust.Refusal{Code: trust.Rollback, File: trust.TargetsFile, Err: fmt.Errorf("it is version %d, and version %d was published: somebody else has published meanwhile; run it again", m.Signed.Version, before)}
	}
	return nil
}

// Published is a target of targets.json. Bundles have a name and a version.
type Published struct {
	trust.Target
	Name, Version string
}

// List is what targets.json names, by path. Nothing is verified.
func List(targets []byte) ([]Published, error) {
	m, err := metadata.Targets().FromBytes(targets)
	if err != nil {
		return nil, fmt.Errorf("list the targets: %w", err)
	}
	var all []Published
	for _, path := range slices.Sorted(maps.Keys(m.Signed.Targets)) {
		p := Published{Target: trust.TargetOf(path, m.Signed.Targets[path])}
		if name, version, ok := ofBundle(path); ok {
			p.Name, p.Version = name, version
		}
		all = append(all, p)
	}
	return all, nil
}

// ofBundle reads bundles/<name>/<version>.slb.
func ofBundle(path string) (name, version string, ok bool) {
	parts := strings.Split(path, "/")
	if len(parts) != 3 || parts[0] != "bundles" {
		return "", "", false
	}
	version, ok = strings.CutSuffix(parts[2], ".slb")
	return parts[1], version, ok
}
