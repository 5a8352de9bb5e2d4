package token

import "testing"

// What is reused holds on to nothing of a token, however its reading ended.
func TestObjectLetsGoOfItsDocument(t *testing.T) {
	o := newObject()
	for document, good := range map[string]bool{
		`{"sub":"alice"}`: true, `{"sub":1}`: false, `{"sub":"al`: false, `{"a":{"b":[`: false, `{}{`: false, ``: false,
	} {
		if got := o.readWhole([]byte(document), func(in *object, _ string) { in.text() }); got != good {
			t.Errorf("%s is read: %v, want %v", document, got, good)
		}
		if o.document != "" || o.member != nil || o.source.Len() != 0 || o.source.Cap() != 0 || o.err != nil || o.mistyped {
			t.Errorf("after %s: %+v", document, o)
		}
	}
}
