package capture

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// shellWords mean something to a shell, which isn't there.
var shellWords = []string{"|", "||", "&", "&&", ";", ">", ">>", "<", "2>", "2>&1"}

// splitWords splits a command as a POSIX shell would: at blanks, with single
// and double quotes and the backslash. Nothing is expanded, and what else a
// shell knows is an error where it stands alone.
func splitWords(s string) ([]string, error) {
	var words []string
	var word strings.Builder
	begun, quoted := false, false
	end := func() error {
		w := word.String()
		if begun {
			if !quoted && slices.Contains(shellWords, w) {
				return fmt.Errorf("%s is a shell's, and there is none: write sh -c '…' or quote it", w)
			}
			words = append(words, w)
		}
		word.Reset()
		begun, quoted = false, false
		return nil
	}
	if strings.ContainsRune(s, 0) {
		return nil, errors.New("it holds a zero byte")
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case ' ', '\t', '\n', '\r':
			if err := end(); err != nil {
				return nil, err
			}
		case '\'', '"':
			n, err := quotedWord(&word, s[i:])
			if err != nil {
				return nil, err
			}
			i += n
			begun, quoted = true, true
		case '\\':
			if i++; i == len(s) {
				return nil, errors.New(`it ends in a \ that quotes nothing`)
			}
			if s[i] != '\n' {
				word.WriteByte(s[i])
				begun, quoted = true, true
			}
		default:
			word.WriteByte(c)
			begun = true
		}
	}
	return words, end()
}

// quotedWord adds what stands between the quotes that s begins with, and
// returns where the closing one is.
func quotedWord(word *strings.Builder, s string) (int, error) {
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == s[0]:
			return i, nil
		case s[0] == '"' && s[i] == '\\' && i+1 < len(s) && strings.IndexByte("$`\"\\\n", s[i+1]) >= 0:
			if i++; s[i] != '\n' {
				word.WriteByte(s[i])
			}
		default:
			word.WriteByte(s[i])
		}
	}
	return 0, fmt.Errorf("the %c at %.20q isn't closed", s[0], s)
}
