package coco

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"
)

// Find is the image of a picture file: the one whose file_name is the file's
// path under dir, else the one whose file_name ends in the same last element.
// It is an error where no image, or more than one, has that.
func (f *File) Find(dir, file string) (*Image, error) {
	rel, err := filepath.Rel(dir, file)
	if err == nil {
		if i, ok := f.byFile[filepath.ToSlash(rel)]; ok {
			return &f.Images[i], nil
		}
	}
	if i, ok := f.byFile[filepath.ToSlash(filepath.Clean(file))]; ok {
		return &f.Images[i], nil
	}
	base := filepath.Base(file)
	i, ok := f.byBase[base]
	switch {
	case !ok:
		return nil, fmt.Errorf("%s has no image for %s", f.Path, file)
	case i < 0:
		return nil, fmt.Errorf("%s has several images called %s, and none is %s: give the folder that its file_name starts from", f.Path, base, filepath.ToSlash(rel))
	}
	return &f.Images[i], nil
}

// Locate is an image's file under dir: file_name from there, and where it says
// a path that leaves dir, an error.
func (i *Image) Locate(dir string) (string, error) {
	name := filepath.FromSlash(slashed(i.Name))
	if !filepath.IsLocal(name) {
		return "", fmt.Errorf("image %d: file_name %q leaves the folder of pictures", i.ID, i.Name)
	}
	return filepath.Join(dir, name), nil
}

// slashed is a name with the separators of files made on Windows turned round.
func slashed(name string) string { return path.Clean(strings.ReplaceAll(name, `\`, "/")) }
