package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
)

// Fault is one thing that is wrong with a configuration.
type Fault struct {
	File string
	Line int    // from 1; 0 for the file as a whole
	Key  string // path of the setting, as in stations[0].camera.source; may be empty
	Text string // what is wrong, the value seen, what would do
}

// Error is the fault in one line: file:line: key: text.
func (f Fault) Error() string {
	var b strings.Builder
	b.WriteString(f.File)
	if f.Line > 0 {
		fmt.Fprintf(&b, ":%d", f.Line)
	}
	if f.Key != "" {
		b.WriteString(": " + f.Key)
	}
	b.WriteString(": " + f.Text)
	return b.String()
}

// Faults are all faults of a file, in the file's order.
type Faults []Fault

// Error has one fault a line.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.Error()
	}
	return strings.Join(lines, "\n")
}

// Cover reports whether a fault is of a setting, or inside or around one, that
// has a fault already.
func (f Faults) Cover(other Fault) bool {
	return slices.ContainsFunc(f, func(known Fault) bool {
		return inside(other.Key, known.Key) || inside(known.Key, other.Key)
	})
}

func (f Faults) sort() {
	slices.SortStableFunc(f, func(a, b Fault) int { return cmp.Compare(a.Line, b.Line) })
}

// lineOf finds the line of a key, or of the nearest thing around it.
func lineOf(lines map[string]int, key string) int {
	for key != "" {
		if n, ok := lines[key]; ok {
			return n
		}
		cut := strings.LastIndexAny(key, ".[")
		if cut < 0 {
			break
		}
		key = key[:cut]
	}
	return max(lines[""], 1)
}

// unwrapPath takes the path off a file error, since the fault names the file.
func unwrapPath(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// shown is a value as a fault may show it: short, on one line, no passwords.
func shown(value string) string {
	if r := []rune(value); len(r) > 80 {
		value = string(r[:77]) + "…"
	}
	return fmt.Sprintf("%q", Redact(value))
}

// credentials are user name and password of an address. A password may hold
// an @, so the last one before the path ends them.
var credentials = regexp.MustCompile(`(//)[^/\s]*@`)

// slashed are credentials with an unescaped slash in the password: what stands
// behind the colon is no port.
var slashed = regexp.MustCompile(`(//)[^/\s]*:[^/\s]*[^0-9/\s][^/\s]*/\S*@`)

// secretParameter is a query parameter that holds a secret.
var secretParameter = regexp.MustCompile(`(?i)([?&;](?:password|passwd|pass|pwd|token|key|secret|auth|user|usr)=)[^&;#\s]*`)

// Redact is a source without its user name, password and tokens, for messages
// and pages. Anything else stays as it is.
func Redact(source string) string {
	if !strings.Contains(source, "//") {
		return source
	}
	source = secretParameter.ReplaceAllString(source, "${1}***")
	source = credentials.ReplaceAllString(source, "${1}***@")
	return slashed.ReplaceAllString(source, "${1}***@")
}
