package mutant

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/vision/models"
	"github.com/sightline-edge/sightline/vision/picture"
	"github.com/sightline-edge/sightline/vision/scene"
)

// GoldenPictures is how many pictures Drawn draws.
const GoldenPictures = 6

// Drawn makes dir, which must not exist, a bundle's folder with the shipped
// model drawn-parts, and draws pictures that its golden vectors can be
// recorded from, in its folder golden. It gives their slash-separated paths
// relative to dir.
func Drawn(dir string, pictures int) ([]string, error) {
	if err := Plain(dir); err != nil {
		return nil, err
	}
	return Draw(dir, "golden", 1, pictures)
}

// Plain makes dir, which must not exist, a bundle's folder with the shipped model
// drawn-parts, without its golden vectors.
func Plain(dir string) error {
	fsys, err := models.Open("drawn-parts")
	if err == nil {
		err = os.CopyFS(dir, fsys)
	}
	if err == nil {
		err = withoutGolden(dir)
	}
	if err != nil {
		return fmt.Errorf("make a bundle of drawn-parts: %w", err)
	}
	return nil
}

// withoutGolden takes the shipped model's own golden vectors out of a copy.
func withoutGolden(dir string) error {
	manifest := filepath.Join(dir, bundle.ManifestFile)
	b, err := os.ReadFile(manifest)
	if err != nil {
		return err
	}
	line := []byte("golden: " + bundle.GoldenFile + "\n")
	if err := os.WriteFile(manifest, bytes.Replace(b, line, nil, 1), 0o644); err != nil {
		return err
	}
	return os.RemoveAll(filepath.Join(dir, filepath.FromSlash(path.Dir(bundle.GoldenFile))))
}

// Draw writes JPEG pictures of drawn parts, every third with good ones alone,
// into a folder below dir and gives their slash-separated paths relative to
// dir. The same seed gives the same pictures.
func Draw(dir, folder string, seed uint64, pictures int) ([]string, error) {
	if err := os.MkdirAll(filepath.Join(dir, folder), 0o755); err != nil {
		return nil, fmt.Errorf("draw pictures: %w", err)
	}
	mixed, err := scene.New(scene.Config{Seed: seed, DefectRate: 0.6, Width: 640, Height: 360})
	if err != nil {
		return nil, err
	}
	good, err := scene.New(scene.Config{Seed: seed, DefectRate: -1, Width: 640, Height: 360})
	if err != nil {
		return nil, err
	}
	f := mixed.NewFrame()
	var names []string
	for n := range pictures {
		s := mixed
		if n%3 == 2 {
			s = good
		}
		if err := s.Frame(40*n+10, f); err != nil {
			return nil, err
		}
		b, err := picture.EncodeJPEG(f, picture.Encoding{Quality: 85})
		if err != nil {
			return nil, err
		}
		name := path.Join(folder, fmt.Sprintf("drawn-%d-%02d.jpg", seed, n))
		if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), b, 0o644); err != nil {
			return nil, fmt.Errorf("draw pictures: %w", err)
		}
		names = append(names, name)
	}
	return names, nil
}
