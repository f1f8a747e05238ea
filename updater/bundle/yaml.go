package bundle

import (
	"errors"
	"fmt"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"
)

// Limits of a manifest's text. Its words are read in time that grows with their
// number, but what they build may take the square of it, or twice as long with
// each alias of an alias.
const (
	maxWords = 50_000 // a thousand labels have a fifth of them
	maxNest  = 16
	maxKeys  = 500 // but for those of labels
)

// checkText refuses YAML that is costly to understand, or that a manifest has
// no use for.
func checkText(text string) error {
	words := lexer.Tokenize(text)
	if len(words) > maxWords {
		return fmt.Errorf("it has %d words, at most %d are read", len(words), maxWords)
	}
	nest, entries, line, keys := 0, 0, 0, 0
	for _, w := range words {
		if w.Position.Line != line {
			line, entries = w.Position.Line, 0
		}
		switch w.Type {
		case token.AnchorType, token.AliasType, token.MergeKeyType, token.TagType, token.MappingKeyType, token.DirectiveType:
			return at(w, fmt.Sprintf("%q has a meaning in YAML that a manifest has no use for: put such a text into quotes", w.Value))
		case token.SequenceStartType, token.MappingStartType:
			nest++
		case token.SequenceEndType, token.MappingEndType:
			nest--
		case token.SequenceEntryType:
			entries++
		case token.MappingValueType:
			if w.Prev == nil || w.Prev.Value != "name" && w.Prev.Value != "role" {
				keys++
			}
		}
		if nest > maxNest || entries > maxNest {
			return at(w, "it is nested too deep")
		}
		if keys > maxKeys {
			return at(w, fmt.Sprintf("it has more than %d keys", maxKeys))
		}
	}
	return nil
}

func at(w *token.Token, what string) error {
	return fmt.Errorf("line %d, column %d: %s", w.Position.Line, w.Position.Column, what)
}

// plainFault is a decoder's error in one line: its own text draws the source
// around the place, which takes long for a long one.
func plainFault(err error) error {
	var fault yaml.Error
	if errors.As(err, &fault) && fault.GetToken() != nil && fault.GetToken().Position != nil {
		return at(fault.GetToken(), fault.GetMessage())
	}
	return err
}
