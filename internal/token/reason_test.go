package token

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"
)

// Every constant of reason.go has a sentence that may stand in error_description (RFC 6750 section 3).
func TestEveryReasonHasItsSentence(t *testing.T) {
	reasons := declaredReasons(t)
	if len(reasons) != len(sentences) {
		t.Errorf("%d reasons and %d sentences", len(reasons), len(sentences))
	}
	whose := map[string]Reason{}
	for _, reason := range reasons {
		sentence, ok := sentences[reason]
		if !ok || reason.Sentence() != sentence {
			t.Errorf("%s has no sentence of its own", reason)
			continue
		}
		if other, taken := whose[sentence]; taken {
			t.Errorf("%s and %s have the same sentence", reason, other)
		}
		whose[sentence] = reason
		if !strings.HasSuffix(sentence, ".") {
			t.Errorf("the sentence of %s does not end like one: %s", reason, sentence)
		}
		for _, c := range []byte(sentence) {
			if c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
				t.Errorf("the sentence of %s has the byte %#x in it", reason, c)
			}
		}
	}
}

func TestSentenceOfAnUnknownReason(t *testing.T) {
	if got := Reason("x").Sentence(); got == "" || strings.Contains(got, "x") {
		t.Errorf("Sentence() = %q, want a general one", got)
	}
}

func declaredReasons(t *testing.T) []Reason {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "reason.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var reasons []Reason
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for _, value := range spec.Values {
			text, err := strconv.Unquote(value.(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			reasons = append(reasons, Reason(text))
		}
		return false
	})
	return reasons
}
