package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/vision/picture"
)

const (
	askTime   = 30 * time.Minute
	maxGolden = 64 << 20 // bytes of an answer
)

// ask lets a running agent record the bundle's folder, and writes what it gives.
func (o *goldenOptions) ask(ctx context.Context, dir string) error {
	files, err := picture.Files(o.pictures)
	if err != nil {
		return err
	}
	pictures, names := bundle.Place(dir, files)
	archive, err := unproved(dir, pictures)
	if err != nil {
		return err
	}
	defer func() {
		_ = archive.Close()
		_ = os.Remove(archive.Name()) // of no use to anybody
	}()
	answer, err := o.post(ctx, archive, names)
	if err != nil {
		return err
	}
	g, err := bundle.ParseGolden(answer)
	if err != nil {
		return fmt.Errorf("what the agent at %s answers: %w: is it of another version?", o.agent, err)
	}
	return pictures.Keep(dir, g)
}

// unproved is an archive of the folder with the pictures, and without what was
// recorded before.
func unproved(dir string, pictures bundle.Pictures) (archive *os.File, err error) {
	top, err := os.MkdirTemp("", "sightline-golden-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(top)) }()
	copied := filepath.Join(top, "bundle")
	m, err := bundle.Read(os.DirFS(dir))
	if err == nil {
		err = os.CopyFS(copied, os.DirFS(dir))
	}
	if err == nil {
		err = pictures.Copy(copied)
	}
	if err != nil {
		return nil, err
	}
	if err := os.Remove(filepath.Join(copied, filepath.FromSlash(bundle.GoldenFile))); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	m.Golden = ""
	text, err := yaml.Marshal(m)
	if err == nil {
		err = os.WriteFile(filepath.Join(copied, bundle.ManifestFile), text, 0o600)
	}
	if err != nil {
		return nil, err
	}
	if archive, err = os.CreateTemp("", "sightline-golden-*.slb"); err != nil {
		return nil, err
	}
	if _, err = bundle.Pack(os.DirFS(copied), archive); err == nil {
		_, err = archive.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, archive.Close(), os.Remove(archive.Name()))
	}
	return archive, nil
}

// post sends the archive to the agent and gives its answer.
func (o *goldenOptions) post(ctx context.Context, archive *os.File, names []string) ([]byte, error) {
	st, err := archive.Stat()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	address := strings.TrimSuffix(o.agent, "/") + "/v1/golden?" + url.Values{"picture": names}.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, archive)
	if err != nil {
		return nil, err
	}
	r.ContentLength = st.Size()
	r.Header.Set("Content-Type", "application/octet-stream")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, fmt.Errorf("ask the agent: %w: is it running, and is this its address?", err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxGolden))
	if err != nil {
		return nil, fmt.Errorf("ask the agent at %s: %w", o.agent, err)
	}
	if answer.StatusCode != http.StatusOK {
		var p struct{ Detail string }
		_ = json.Unmarshal(text, &p) // what is no problem has no detail
		return nil, fmt.Errorf("the agent at %s: %s", o.agent, clean(strings.TrimSpace(answer.Status+" "+p.Detail)))
	}
	return text, nil
}
