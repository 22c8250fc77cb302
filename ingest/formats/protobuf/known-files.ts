/**
 * Files that .proto texts import without the registry having them. Those of google/protobuf come with the library (`true`);
 * of the others the few messages are written here that records may hold, and the option that says a decimal's precision.
 */
import type { WellKnown } from './proto-type.ts'

const META = `syntax = "proto3";
package confluent;
import "google/protobuf/descriptor.proto";
message Meta {
  string doc = 1;
  map<string, string> params = 2;
  repeated string tags = 3;
}`

const DECIMAL = `syntax = "proto3";
package confluent.type;
message Decimal {
  bytes value = 1;
  uint32 precision = 2;
  int32 scale = 3;
}`

const DATE = `syntax = "proto3";
package google.type;
message Date {
  int32 year = 1;
  int32 month = 2;
  int32 day = 3;
}`

const TIME_OF_DAY = `syntax = "proto3";
package google.type;
message TimeOfDay {
  int32 hours = 1;
  int32 minutes = 2;
  int32 seconds = 3;
  int32 nanos = 4;
}`

const MONEY = `syntax = "proto3";
package google.type;
message Money {
  string currency_code = 1;
  int64 units = 2;
  int32 nanos = 3;
}`

const LAT_LNG = `syntax = "proto3";
package google.type;
message LatLng {
  double latitude = 1;
  double longitude = 2;
}`

export const KNOWN_FILES: Readonly<Record<string, string | true>> = {
  'google/protobuf/any.proto': true,
  'google/protobuf/duration.proto': true,
  'google/protobuf/empty.proto': true,
  'google/protobuf/field_mask.proto': true,
  'google/protobuf/struct.proto': true,
  'google/protobuf/timestamp.proto': true,
  'google/protobuf/wrappers.proto': true,
  // Only options are made of it.
  'google/protobuf/descriptor.proto': 'syntax = "proto2"; package google.protobuf;',
  'confluent/meta.proto': META,
  'confluent/type/decimal.proto': DECIMAL,
  'google/type/date.proto': DATE,
  'google/type/timeofday.proto': TIME_OF_DAY,
  'google/type/money.proto': MONEY,
  'google/type/latlng.proto': LAT_LNG,
}

const WRAPPERS = ['Double', 'Float', 'Int64', 'UInt64', 'Int32', 'UInt32', 'Bool', 'String', 'Bytes']

export const WELL_KNOWN: Readonly<Record<string, WellKnown | undefined>> = {
  'google.protobuf.Timestamp': 'timestamp',
  'google.protobuf.Struct': 'struct',
  'google.protobuf.Value': 'value',
  'google.protobuf.ListValue': 'list-value',
  'google.type.Date': 'date',
  'google.type.TimeOfDay': 'time-of-day',
  'confluent.type.Decimal': 'decimal',
  ...Object.fromEntries(WRAPPERS.map((name) => [`google.protobuf.${name}Value`, 'wrapper'])),
}
