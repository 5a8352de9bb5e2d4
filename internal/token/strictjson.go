package token

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// maxNesting is how deep objects and lists may be nested, the outermost counted. Real tokens need four.
const maxNesting = 16

// object is a JSON object whose members are read one after another. Texts are parts of the document where they can be:
// one piece of memory in place of one for each of them. What is kept of them must be copied, or the document stays too.
type object struct {
	document string
	// member is called with the name of each member, and must read its value by one call of one of the methods below.
	member  func(in *object, name string)
	source  bytes.Buffer
	decoder *jsontext.Decoder
	// err is why the document is no object without doubt. Nothing more is read once it is set.
	err error
	// mistyped is true once a member had another type than that as which it was read. A member that is null has: it is
	// there, and says nothing.
	mistyped bool
}

var (
	errNotAnObject = errors.New("not a JSON object")
	errMore        = errors.New("something follows the JSON object")
)

// readObject reports whether the document is one JSON object without doubt, whose members have the types as which member
// reads them: valid UTF-8 (RFC 8259 section 8.1), no name twice at any depth, no number beyond a float64, nothing after
// it, nested at most maxNesting deep. Names are compared exactly. Two readers of a document with doubts could see two
// different tokens.
func readObject(document []byte, member func(in *object, name string)) bool {
	if !nestedAtMost(document, maxNesting) {
		return false
	}
	o := objects.Get().(*object)
	good := o.readWhole(document, member)
	if len(document) <= maxReused {
		objects.Put(o)
	}
	return good
}

// objects are reused: what a decoder needs to tell names apart is more than most documents do. It keeps that, with the names
// of members, until its next document.
var objects = sync.Pool{New: func() any { return newObject() }}

// maxReused is the largest document, in bytes, after which an object is reused: a larger one could leave 80 KiB of names.
const maxReused = 4 << 10

// newObject returns one without a document. The decoder is what is to become that of encoding/json/jsontext. By default it
// refuses invalid UTF-8 and a name twice, also within the members that nobody reads.
func newObject() *object { return &object{decoder: jsontext.NewDecoder(new(bytes.Buffer))} }

// readWhole reads a document, and lets go of it.
func (o *object) readWhole(document []byte, member func(in *object, name string)) bool {
	o.reset(document, member)
	o.read()
	good := o.err == nil && !o.mistyped
	o.reset(nil, nil)
	return good
}

func (o *object) reset(document []byte, member func(in *object, name string)) {
	*o = object{document: string(document), member: member, source: *bytes.NewBuffer(document), decoder: o.decoder}
	o.decoder.Reset(&o.source)
}

// read reads the object, and that nothing follows.
func (o *object) read() {
	if o.next() != '{' {
		o.fail(errNotAnObject)
	}
	o.token()
	for o.err == nil && o.next() != '}' {
		if name, ok := o.string(); ok {
			o.member(o, name)
		}
	}
	o.token()
	if o.err == nil {
		if _, err := o.decoder.ReadToken(); !errors.Is(err, io.EOF) {
			o.fail(errMore)
		}
	}
}

// text reads what must be a string.
func (o *object) text() string {
	text, ok := o.string()
	o.mistyped = o.mistyped || !ok
	return text
}

// texts reads what must be a string or a list of strings.
func (o *object) texts() []string {
	texts, ok := o.stringOrStrings()
	o.mistyped = o.mistyped || !ok
	return texts
}

// number reads what must be a number.
func (o *object) number() float64 {
	if o.next() != '0' {
		o.mistyped = true
		o.skip()
		return 0
	}
	number, err := strconv.ParseFloat(o.scalar(), 64)
	o.fail(err)
	return number
}

// string reads a value, and returns it if it is a string.
func (o *object) string() (string, bool) {
	if o.next() != '"' {
		o.skip()
		return "", false
	}
	quoted := o.scalar()
	if strings.IndexByte(quoted, '\\') >= 0 {
		text, err := jsontext.AppendUnquote(nil, quoted)
		o.fail(err)
		return string(text), o.err == nil
	}
	if o.err != nil {
		return "", false
	}
	return quoted[1 : len(quoted)-1], true
}

// stringOrStrings reads a value, and returns it if it is a string, as a list of one, or a list of strings.
func (o *object) stringOrStrings() ([]string, bool) {
	if o.next() != '[' {
		text, ok := o.string()
		if !ok {
			return nil, false
		}
		return []string{text}, true
	}
	o.token()
	texts, all := make([]string, 0, 4), true
	for o.err == nil && o.next() != ']' {
		text, ok := o.string()
		texts, all = append(texts, text), all && ok
	}
	o.token()
	return texts, all
}

// skip reads a value that is not needed.
func (o *object) skip() {
	for depth := o.decoder.StackDepth(); o.err == nil; {
		if o.next() == '0' {
			o.number()
		} else {
			o.token()
		}
		if o.decoder.StackDepth() == depth {
			return
		}
	}
}

func (o *object) next() jsontext.Kind { return o.decoder.PeekKind() }

// token reads a bracket, a name or a scalar.
func (o *object) token() {
	if o.err == nil {
		_, err := o.decoder.ReadToken()
		o.fail(err)
	}
}

// scalar reads a string or a number, and returns it as it is written.
func (o *object) scalar() string {
	if o.err != nil {
		return ""
	}
	value, err := o.decoder.ReadValue()
	o.fail(err)
	end := int(o.decoder.InputOffset())
	return o.document[end-len(value) : end]
}

// fail keeps the first error.
func (o *object) fail(err error) {
	if o.err == nil {
		o.err = err
	}
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
