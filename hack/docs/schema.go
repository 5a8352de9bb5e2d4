package main

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

type schema = apiextensionsv1.JSONSchemaProps

// object is a table of the page: something with fields.
type object struct {
	Path    string // such as TokenIssuer.spec.signing
	Summary string // the first sentence about it
	Fields  []field
	Rules   []string // the messages of what must hold of the fields
}

type field struct {
	Name, Type, Default, Description string
}

// objects returns the object itself and every one below it.
func objects(path string, s *schema) []object {
	summary, _, _ := strings.Cut(prose(s.Description), ". ")
	self := object{Path: path, Summary: strings.TrimSuffix(summary, ".") + ".", Rules: messages(s)}
	var below []object
	for _, name := range fieldNames(s) {
		property := s.Properties[name]
		if path == root(path) && (name == "apiVersion" || name == "kind" || name == "metadata") {
			continue // As of every object of Kubernetes.
		}
		self.Fields = append(self.Fields, describeField(path, name, &property, slices.Contains(s.Required, name)))
		if inner, name := innermost(&property, name); hasTable(inner) {
			below = append(below, objects(path+"."+name, inner)...)
		} else if !isCondition(inner) {
			self.Rules = append(self.Rules, messages(&property)...)
		}
	}
	return append([]object{self}, below...)
}

func root(path string) string {
	kind, _, _ := strings.Cut(path, ".")
	return kind
}

// fieldNames puts what is required first, and goes by the alphabet otherwise.
func fieldNames(s *schema) []string {
	optional := func(name string) int {
		if slices.Contains(s.Required, name) {
			return 0
		}
		return 1
	}
	return slices.SortedFunc(maps.Keys(s.Properties), func(a, b string) int {
		return cmp.Or(optional(a)-optional(b), strings.Compare(a, b))
	})
}

// innermost is what a list or a map holds in the end, and the name of the field with a pair of brackets for each list.
func innermost(s *schema, name string) (*schema, string) {
	for {
		switch {
		case s.Items != nil:
			s, name = s.Items.Schema, name+"[]"
		case s.AdditionalProperties != nil:
			s = s.AdditionalProperties.Schema
		default:
			return s, name
		}
	}
}

func hasTable(s *schema) bool { return len(s.Properties) > 0 && !isCondition(s) }

// isCondition recognizes a metav1.Condition, which is the same everywhere.
func isCondition(s *schema) bool {
	return s.Properties["lastTransitionTime"].Type != "" && s.Properties["observedGeneration"].Type != ""
}

func describeField(path, name string, s *schema, required bool) field {
	f := field{Name: name, Type: typeOf(path+"."+name, s), Description: prose(s.Description)}
	switch {
	case required:
		f.Default = "*required*"
	case s.Default != nil && s.Type != "object": // {} says no more than that the fields in it have defaults.
		f.Default = code(strings.Trim(string(s.Default.Raw), `"`))
		if f.Default == "``" {
			f.Default = "`\"\"`"
		}
		// The comment says it for kubectl explain; here the column does.
		f.Description = strings.TrimSuffix(f.Description, " Default: "+prose(strings.Trim(f.Default, "`"))+".")
	}
	return f
}

// typeOf says what a value of the schema is, with its bounds.
func typeOf(path string, s *schema) string {
	switch {
	case hasTable(s):
		return fmt.Sprintf("[object](#%s)", anchor(path))
	case isCondition(s):
		return "[condition](#conditions)"
	case s.Items != nil:
		return "list" + count(s.MinItems, s.MaxItems, " of ", "") + distinct(s) + ": " + typeOf(path+"[]", s.Items.Schema)
	case s.AdditionalProperties != nil:
		return "map" + count(s.MinProperties, s.MaxProperties, " of ", "") + ": " + typeOf(path, s.AdditionalProperties.Schema)
	case len(s.Enum) > 0:
		var values []string
		for _, value := range s.Enum {
			values = append(values, strings.Trim(string(value.Raw), `"`))
		}
		return "one of " + codes(values)
	case s.Format == "date-time":
		return "time"
	case s.Pattern == durationPattern:
		return "duration" + durationBounds(s)
	case s.Type == "string" && s.Pattern != "":
		return "string" + count(s.MinLength, s.MaxLength, ", ", " characters") + ", like " + code(s.Pattern)
	case s.Type == "string":
		return "string" + count(s.MinLength, s.MaxLength, ", ", " characters")
	case s.Type == "integer" && s.Minimum != nil && s.Maximum != nil:
		return fmt.Sprintf("integer, %.0f to %.0f", *s.Minimum, *s.Maximum)
	default:
		return s.Type
	}
}

func count(least, most *int64, before, after string) string {
	switch {
	case most == nil && least == nil:
		return ""
	case most == nil:
		return before + "at least " + strconv.FormatInt(*least, 10) + after
	case least == nil:
		return before + "at most " + strconv.FormatInt(*most, 10) + after
	default:
		return fmt.Sprintf("%s%d to %d%s", before, *least, *most, after)
	}
}

func distinct(s *schema) string {
	switch {
	case s.XListType != nil && *s.XListType == "set":
		return ", no two the same"
	case s.XListType != nil && *s.XListType == "map":
		return ", no two with the same " + codes(s.XListMapKeys)
	default:
		return ""
	}
}

// durationPattern is that of all durations of the API.
const durationPattern = `^([0-9]{1,6}(\.[0-9]{1,3})?(h|m|s|ms))+$`

// durationRule is the rule that bounds a duration.
var durationRule = regexp.MustCompile(`^duration\(self\) >= duration\('(\w+)'\) && duration\(self\) <= duration\('(\w+)'\)$`)

func durationBounds(s *schema) string {
	for _, rule := range s.XValidations {
		if bounds := durationRule.FindStringSubmatch(rule.Rule); bounds != nil {
			return ", " + bounds[1] + " to " + bounds[2]
		}
	}
	return ""
}

// messages are those of the rules of a value, and of what it holds as a list or a map, but for bounds that its type tells.
func messages(s *schema) []string {
	var all []string
	for _, rule := range s.XValidations {
		if !durationRule.MatchString(rule.Rule) {
			all = append(all, prose(rule.Message))
		}
	}
	switch {
	case s.Items != nil:
		all = append(all, messages(s.Items.Schema)...)
	case s.AdditionalProperties != nil:
		all = append(all, messages(s.AdditionalProperties.Schema)...)
	}
	return all
}
