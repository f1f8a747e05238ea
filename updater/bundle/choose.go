package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/sightline-edge/sightline/internal/whole"
)

// Pictures are golden pictures by their paths in the bundle: where each lies
// now. It is an fs.FS of them.
type Pictures map[string]string

// Place gives each file a path in the bundle whose folder is dir, in their
// order: those that lie there keep theirs, the others go beside the golden file.
func Place(dir string, files []string) (Pictures, []string) {
	p := Pictures{}
	var names []string
	for _, file := range files {
		name, err := filepath.Rel(dir, file)
		if name = filepath.ToSlash(name); err != nil || CheckPath(name) != nil {
			name = path.Join(path.Dir(GoldenFile), pathName(filepath.Base(file)))
		}
		ext := path.Ext(name)
		for base, n := strings.TrimSuffix(name, ext), 2; p[name] != ""; n++ {
			name = fmt.Sprintf("%s-%d%s", base, n, ext)
		}
		p[name] = file
		names = append(names, name)
	}
	return p, names
}

// pathName makes a file's name one that may stand in a bundle.
func pathName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-' {
			return r
		}
		return '_'
	}, name)
	if CheckPath(name) != nil {
		name = "p" + name
	}
	return name
}

// Open opens a picture by its path in the bundle.
func (p Pictures) Open(name string) (fs.File, error) {
	file, ok := p[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return os.Open(file)
}

// Copy puts the pictures into the bundle's folder; those that lie there stay.
func (p Pictures) Copy(dir string) error {
	for name, file := range p {
		to := filepath.Join(dir, filepath.FromSlash(name))
		if sameFile(file, to) {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), whole.Write(to, data, 0o644)); err != nil {
			return err
		}
	}
	return nil
}

// Keep writes the pictures and what is expected of them into the bundle's
// folder, and names the golden file in the manifest.
func (p Pictures) Keep(dir string, g *Golden) error {
	var b bytes.Buffer
	if err := g.Write(&b); err != nil {
		return err
	}
	if err := p.Copy(dir); err != nil {
		return fmt.Errorf("keep golden pictures: %w", err)
	}
	to := filepath.Join(dir, filepath.FromSlash(GoldenFile))
	if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), whole.Write(to, b.Bytes(), 0o644)); err != nil {
		return fmt.Errorf("keep golden vectors: %w", err)
	}
	return nameGolden(dir)
}

func sameFile(a, b string) bool {
	first, err := os.Stat(a)
	if err != nil {
		return false
	}
	second, err := os.Stat(b)
	return err == nil && os.SameFile(first, second)
}

// nameGolden adds the golden file to the manifest where it isn't named yet, and
// leaves all else as its author wrote it.
func nameGolden(dir string) error {
	file := filepath.Join(dir, ManifestFile)
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("name the golden vectors: %w", err)
	}
	m, err := Parse(text)
	if err != nil || m.Golden != "" {
		return err
	}
	if !bytes.HasSuffix(text, []byte("\n")) {
		text = append(text, '\n')
	}
	text = append(text, "golden: "+GoldenFile+"\n"...)
	if m, err := Parse(text); err != nil || m.Golden == "" {
		return fmt.Errorf("name the golden vectors: no line can be added to %s as it is written: add golden: %s to it", file, GoldenFile)
	}
	if err := whole.Write(file, text, 0o644); err != nil {
		return fmt.Errorf("name the golden vectors: %w", err)
	}
	return nil
}
