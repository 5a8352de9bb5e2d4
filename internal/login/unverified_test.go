package login

import (
	"encoding/base64"
	"encoding/json"
	"reflect"
	"testing"
	"time"
)

func TestReadClaims(t *testing.T) {
	tests := map[string]struct {
		document string
		// want is nil for a document with doubts.
		want claims
	}{
		"an object":     {document: `{"a": "b"}`, want: claims{"a": "b"}},
		"nothing in it": {document: `{}`, want: claims{}},
		"numbers as they stand": {
			document: `{"n": 1234567890123456.10}`, want: claims{"n": json.Number("1234567890123456.10")},
		},
		"names are case-sensitive":  {document: `{"a": "b", "A": "B"}`, want: claims{"a": "b", "A": "B"}},
		"nothing":                   {document: ``},
		"null":                      {document: `null`},
		"a list":                    {document: `[]`},
		"a text":                    {document: `"a"`},
		"a member twice":            {document: `{"a": 1, "a": 1}`},
		"a member twice, deep down": {document: `{"a": [{"b": 1, "b": 2}]}`},
		"a member twice, escaped":   {document: `{"a": 1, "\u0061": 2}`},
		"something after it":        {document: `{"a": 1} {}`},
		"not UTF-8":                 {document: "{\"a\": \"\xff\"}"},
		"not UTF-8 in a name":       {document: "{\"\xff\": 1}"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			read, err := readClaims([]byte(test.document))
			if (err == nil) != (test.want != nil) || !reflect.DeepEqual(read, test.want) {
				t.Errorf("%v, error %v; want %v", read, err, test.want)
			}
		})
	}
}

func TestTimes(t *testing.T) {
	tests := map[string]struct {
		value any
		want  time.Time
		ok    bool
	}{
		"seconds":        {value: json.Number("1772366400"), want: start, ok: true},
		"a fraction":     {value: json.Number("1772366400.999"), want: start, ok: true},
		"an exponent":    {value: json.Number("1.7723664e9"), want: start, ok: true},
		"the epoch":      {value: json.Number("0"), want: time.Unix(0, 0), ok: true},
		"the last":       {value: json.Number("1e11"), want: time.Unix(1e11, 0), ok: true},
		"after the last": {value: json.Number("100000000001")},
		"negative":       {value: json.Number("-1")},
		"no number":      {value: json.Number("1e999")},
		"a text":         {value: "1772366400"},
		"nothing":        {},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if at, ok := (claims{"exp": test.value}).time("exp"); !at.Equal(test.want) || ok != test.ok {
				t.Errorf("%v, %t; want %v, %t", at, ok, test.want, test.ok)
			}
		})
	}
}

func FuzzReadUnverified(f *testing.F) {
	encode := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	f.Add(encode(`{"alg":"ES256"}`) + "." + encode(`{"iss":"https://issuer.example","aud":["a"],"exp":1}`) + ".AAAA")
	f.Add("..")
	f.Add(encode(`{}`) + "." + encode(`{"aud":7,"exp":1e11}`) + ".")
	f.Fuzz(func(t *testing.T, token string) {
		read, err := readUnverified(token, 1024)
		if err != nil {
			return
		}
		if len(token) > 1024 || read.header == nil || read.claims == nil {
			t.Errorf("%q was read into %v", token, read)
		}
		document, err := json.Marshal(read.claims)
		if err != nil {
			t.Fatalf("what was read of %q cannot be written: %v", token, err)
		}
		again, err := readClaims(document)
		if err != nil || !reflect.DeepEqual(again, read.claims) {
			t.Errorf("%s was read as %v, error %v; want %v", document, again, err, read.claims)
		}
	})
}
