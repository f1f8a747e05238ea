package bundle

import (
	"errors"
	"fmt"
	"strings"
)

// Limits of a path inside a bundle. They are those of a ustar header, so that
// no archive needs an extension of tar.
const (
	maxPath  = 200 // bytes
	maxName  = 100 // bytes of a file's own name
	maxFront = 155 // bytes of the folders before it
	maxDepth = 8   // names in a path
)

// SumsFile is the first file of every archive: the SHA-256 of all others, as
// sha256sum writes and checks them.
const SumsFile = "SHA256SUMS"

// CheckPath refuses what may not be the path of a file inside a bundle: only
// letters, digits, dot, underscore and hyphen, with / between the folders, no
// name that begins with a dot or a hyphen, and within the limits of ustar. The
// same path then means the same file on every system and in every tool.
func CheckPath(p string) error {
	switch {
	case p == "":
		return errors.New("no file name is given")
	case len(p) > maxPath:
		return fmt.Errorf("%.40q… is not a path inside the bundle: it has %d bytes, at most %d are possible", p, len(p), maxPath)
	}
	names := strings.Split(p, "/")
	if len(names) > maxDepth {
		return fmt.Errorf("%q is not a path inside the bundle: it is %d folders deep, at most %d are possible", p, len(names)-1, maxDepth-1)
	}
	for _, name := range names {
		if why := badName(name); why != "" {
			return fmt.Errorf("%q is not a path inside the bundle: %s", p, why)
		}
	}
	if name := names[len(names)-1]; len(name) > maxName || len(p)-len(name)-1 > maxFront {
		return fmt.Errorf("%q is not a path inside the bundle: its name has %d bytes, its folders %d; at most %d and %d are possible",
			p, len(name), len(p)-len(name)-1, maxName, maxFront)
	}
	return nil
}

// badName says what is wrong with one name of a path, "" for a good one.
func badName(name string) string {
	switch {
	case name == "":
		return "it is absolute, ends in / or has an empty name"
	case name[0] == '.' || name[0] == '-':
		return fmt.Sprintf("the name %q begins with %q", name, name[0])
	}
	for i := range len(name) {
		if !plainByte(name[i]) {
			return fmt.Sprintf("%q may not stand in it, only letters, digits, dot, underscore and hyphen", name[i])
		}
	}
	return ""
}

func plainByte(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || b == '.' || b == '_' || b == '-'
}

// spelling finds paths that would meet on a file system that doesn't tell
// upper from lower case, and paths that are a file here and a folder there.
type spelling map[string]string // folded path, with / behind that of a folder → as it was written

// add gives an error for a path that meets an earlier one.
func (s spelling) add(p string) error {
	folded := strings.ToLower(p)
	if folded == strings.ToLower(SumsFile) {
		return fmt.Errorf("%q: only the list of sums itself may have that name", p)
	}
	if other, ok := s[folded]; ok {
		return fmt.Errorf("%q and %q: the same file twice, or names that differ in case alone", other, p)
	}
	if _, ok := s[folded+"/"]; ok {
		return fmt.Errorf("%q is a file and a folder", p)
	}
	s[folded] = p
	for i := range len(p) {
		if p[i] != '/' {
			continue
		}
		if _, ok := s[folded[:i]]; ok {
			return fmt.Errorf("%q is a file and a folder", p[:i])
		}
		if other, ok := s[folded[:i+1]]; ok && other != p[:i] {
			return fmt.Errorf("%q and %q: folders that differ in case alone", other, p[:i])
		}
		s[folded[:i+1]] = p[:i]
	}
	return nil
}
