package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/internal/whole"
	"github.com/sightline-edge/sightline/updater/mirror"
	"github.com/sightline-edge/sightline/updater/publish"
	"github.com/sightline-edge/sightline/updater/trust"
)

// repository is where metadata and bundles are published: a fleet, or a folder
// with keys for snapshot and timestamp beside the others.
type repository interface {
	mirror.Source
	name() string
	onlineKeys(ctx context.Context, next bool) (publish.OnlineKeys, error)
	putRoot(ctx context.Context, root []byte) error
	putBundle(ctx context.Context, path string, t *trust.Target, bar *cli.Progress) error
	putTargets(ctx context.Context, targets []byte) error
}

// uploadTime bounds one upload; a bundle may have hundreds of megabytes and
// the link be slow.
const uploadTime = 2 * time.Hour

type fleetRepo struct {
	mirror.Source
	l *login
}

// authorized adds the login's token. It goes to the fleet alone, since the
// client follows no redirect.
type authorized struct {
	http.RoundTripper
	token string
}

func (a authorized) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+a.token)
	r.Header.Set("User-Agent", "sightline/"+version)
	return a.RoundTripper.RoundTrip(r)
}

func newFleetRepo() (*fleetRepo, error) {
	l, err := loadLogin()
	if err != nil {
		return nil, err
	}
	c, err := l.client()
	if err != nil {
		return nil, err
	}
	c.Transport = authorized{c.Transport, l.Token}
	return &fleetRepo{mirror.HTTP(l.Fleet+"/v1/updates/metadata", c), l}, nil
}

func (f *fleetRepo) name() string { return "the fleet at " + f.l.Fleet }

func (f *fleetRepo) onlineKeys(ctx context.Context, next bool) (k publish.OnlineKeys, err error) {
	path := "/v1/updates/keys"
	if next {
		path += "?next=true"
	}
	err = f.l.call(ctx, http.MethodGet, path, nil, &k)
	if err == nil && (k.Snapshot == nil || k.Timestamp == nil) {
		err = fmt.Errorf("ask the fleet at %s for its keys: its answer lacks one", f.l.Fleet)
	}
	return k, err
}

func (f *fleetRepo) putRoot(ctx context.Context, root []byte) error {
	return f.send(ctx, http.MethodPost, "/v1/updates/root", "application/json", strings.NewReader(string(root)), int64(len(root)))
}

func (f *fleetRepo) putTargets(ctx context.Context, targets []byte) error {
	return f.send(ctx, http.MethodPost, "/v1/updates/metadata/targets", "application/json", strings.NewReader(string(targets)), int64(len(targets)))
}

func (f *fleetRepo) putBundle(ctx context.Context, path string, t *trust.Target, bar *cli.Progress) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("send the bundle: %w", err)
	}
	defer file.Close()
	return f.send(ctx, http.MethodPut, "/v1/updates/targets/"+hex.EncodeToString(t.SHA256[:]), "application/octet-stream", io.TeeReader(file, sent{bar}), t.Length)
}

type sent struct{ bar *cli.Progress }

func (c sent) Write(p []byte) (int, error) {
	c.bar.Add(len(p))
	return len(p), nil
}

func (f *fleetRepo) send(ctx context.Context, method, path, kind string, body io.Reader, length int64) error {
	ctx, cancel := context.WithTimeout(ctx, uploadTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, f.l.Fleet+path, body)
	if err != nil {
		return fmt.Errorf("ask the fleet: %w", err)
	}
	r.ContentLength = length
	r.Header.Set("Content-Type", kind)
	c, err := f.l.client()
	if err != nil {
		return err
	}
	defer c.CloseIdleConnections()
	c.Transport = authorized{c.Transport, f.l.Token}
	answer, err := c.Do(r)
	if err != nil {
		return explain(f.l.Fleet, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return explain(f.l.Fleet, err)
	}
	if answer.StatusCode >= 300 {
		return f.l.refused(answer, text)
	}
	return nil
}

// folderRepo is a repository of files, as on a USB stick, whose snapshot and
// timestamp are signed here.
type folderRepo struct {
	mirror.Source
	dir    string
	online string // folder of the online keys
}

func newFolderRepo(dir, keys string) *folderRepo {
	return &folderRepo{mirror.Folder(filepath.Join(dir, "metadata")), dir, filepath.Join(keys, onlineFolder)}
}

func (f *folderRepo) name() string { return f.dir }

func (f *folderRepo) onlineKeys(_ context.Context, next bool) (publish.OnlineKeys, error) {
	open := publish.OpenOnline
	if next {
		open = publish.RenewOnline
	}
	o, err := open(f.online)
	if err != nil {
		return publish.OnlineKeys{}, err
	}
	return o.Keys(), nil
}

func (f *folderRepo) put(name string, data []byte) error {
	path := filepath.Join(f.dir, "metadata", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write the repository: %w", err)
	}
	return whole.Write(path, data, 0o644)
}

func (f *folderRepo) putRoot(ctx context.Context, root []byte) error {
	v, err := publish.VersionOf(root)
	if err != nil {
		return err
	}
	before, err := f.newestRoot()
	first := errors.Is(err, fs.ErrNotExist)
	if err != nil && !first {
		return err
	}
	if err := f.put(strconv.FormatInt(v, 10)+"."+trust.RootFile, root); err != nil || first {
		return err
	}
	a, err := publish.RolesOf(before)
	if err != nil {
		return err
	}
	b, err := publish.RolesOf(root)
	if err != nil {
		return err
	}
	if publish.ID(a.Online.Snapshot) == publish.ID(b.Online.Snapshot) && publish.ID(a.Online.Timestamp) == publish.ID(b.Online.Timestamp) {
		return nil
	}
	stamp, err := f.Metadata(ctx, trust.TimestampFile, trust.MaxTimestamp)
	if err != nil {
		return err
	}
	_, targets, err := f.last(ctx, stamp)
	if err != nil {
		return err
	}
	return f.putTargets(ctx, targets) // signed by the new online keys
}

// last are the snapshot and the targets that a timestamp leads to.
func (f *folderRepo) last(ctx context.Context, stamp []byte) (snapshot, targets []byte, err error) {
	v, err := metaVersion(stamp, trust.SnapshotFile)
	if err != nil {
		return nil, nil, err
	}
	if snapshot, err = f.Metadata(ctx, v+"."+trust.SnapshotFile, trust.MaxSnapshot); err != nil {
		return nil, nil, err
	}
	if v, err = metaVersion(snapshot, trust.TargetsFile); err != nil {
		return nil, nil, err
	}
	targets, err = f.Metadata(ctx, v+"."+trust.TargetsFile, trust.MaxTargets)
	return snapshot, targets, err
}

func metaVersion(data []byte, name string) (string, error) {
	var m struct {
		Signed struct {
			Meta map[string]struct{ Version int64 } `json:"meta"`
		} `json:"signed"`
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return "", fmt.Errorf("read the repository: %w", err)
	}
	return strconv.FormatInt(m.Signed.Meta[name].Version, 10), nil
}

func (f *folderRepo) putBundle(_ context.Context, path string, t *trust.Target, bar *cli.Progress) (err error) {
	from, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("copy the bundle: %w", err)
	}
	defer from.Close()
	return storeTarget(f.dir, io.TeeReader(from, sent{bar}), t)
}

// storeTarget puts a target below a repository's targets folder, verified.
func storeTarget(dir string, from io.Reader, t *trust.Target) error {
	to := filepath.Join(dir, "targets", filepath.FromSlash(t.Stored()))
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return fmt.Errorf("copy the bundle: %w", err)
	}
	out, err := whole.New(to, 0o644)
	if err != nil {
		return fmt.Errorf("copy the bundle: %w", err)
	}
	defer out.Close()
	if err := t.Copy(out, from); err != nil {
		return fmt.Errorf("copy the bundle: %w", err)
	}
	return out.Commit()
}

func (f *folderRepo) putTargets(ctx context.Context, targets []byte) error {
	o, err := publish.OpenOnline(f.online)
	if err != nil {
		return err
	}
	root, err := f.newestRoot()
	if err != nil {
		return err
	}
	stamp, err := f.Metadata(ctx, trust.TimestampFile, trust.MaxTimestamp)
	var snap []byte
	if err == nil {
		snap, _, err = f.last(ctx, stamp)
	} else if errors.Is(err, mirror.ErrMissing) {
		stamp, err = nil, nil
	}
	if err != nil {
		return err
	}
	snap, stamp, err = o.Sign(root, targets, snap, stamp, time.Now())
	if err != nil {
		return err
	}
	files, err := publish.Files(root, targets, snap, stamp)
	if err != nil {
		return err
	}
	delete(files, trust.TimestampFile)
	for name, data := range files {
		if err := f.put(name, data); err != nil {
			return err
		}
	}
	return f.put(trust.TimestampFile, stamp) // last: it leads to the others
}

func (f *folderRepo) newestRoot() ([]byte, error) {
	return (&keyDir{path: filepath.Join(f.dir, "metadata")}).newestRoot()
}
