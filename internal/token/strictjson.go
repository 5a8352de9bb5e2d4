package token

import (
	"bytes"

	"github.com/go-json-experiment/json"
)

// maxNesting is how deep objects and lists may be nested, the outermost counted. Real tokens need four.
const maxNesting = 16

// decodeObject reads one JSON object, and reports whether it is one without doubt: valid UTF-8 (RFC 8259 section 8.1),
// no member twice at any depth, nothing after it, nested at most maxNesting deep. Names are compared exactly. Two
// readers of a document with doubts could see two different tokens.
func decodeObject(document []byte) (map[string]any, bool) {
	if !nestedAtMost(document, maxNesting) {
		return nil, false
	}
	// This is what is to become encoding/json/v2. By default it refuses what is named above, and so it does within the
	// members that nobody reads.
	var value any
	if err := json.Unmarshal(document, &value); err != nil {
		return nil, false
	}
	members, ok := value.(map[string]any)
	return members, ok
}

// nestedAtMost keeps a small document from costing a deep recursion.
func nestedAtMost(document []byte, limit int) bool {
	if bytes.Count(document, []byte("{"))+bytes.Count(document, []byte("[")) <= limit {
		return true
	}
	depth, quoted, escaped := 0, false, false
	for _, c := range document {
		switch {
		case escaped:
			escaped = false
		case quoted:
			escaped = c == '\\'
			quoted = c != '"'
		case c == '"':
			quoted = true
		case c == '{' || c == '[':
			if depth++; depth > limit {
				return false
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return true
}

// members reads members of a decoded object, and remembers when one had a wrong type. A member that is null has a wrong
// type too: it is there, and says nothing.
type members struct {
	object map[string]any
	broken bool
}

func (m *members) has(name string) bool {
	_, ok := m.object[name]
	return ok
}

// text returns a member that must be a string if it is there.
func (m *members) text(name string) string {
	value, ok := m.object[name]
	if !ok {
		return ""
	}
	text, ok := value.(string)
	m.broken = m.broken || !ok
	return text
}

// texts returns a member that must be a string or a list of strings if it is there.
func (m *members) texts(name string) []string {
	value, ok := m.object[name]
	if !ok {
		return nil
	}
	texts, ok := stringOrStrings(value)
	m.broken = m.broken || !ok
	return texts
}

func stringOrStrings(value any) ([]string, bool) {
	switch value := value.(type) {
	case string:
		return []string{value}, true
	case []any:
		texts := make([]string, 0, len(value))
		for _, element := range value {
			text, ok := element.(string)
			if !ok {
				return nil, false
			}
			texts = append(texts, text)
		}
		return texts, true
	}
	return nil, false
}
