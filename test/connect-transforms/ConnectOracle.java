/*
 * Answers what Kafka Connect itself does: one JSON document a line in the file args[0], one answer a line in args[1].
 *
 *   {"steps":[{"type","settings","predicate":{"type","settings","negate"}}],"records":[...]}
 *       -> {"configError":class} or {"records":[record | {"dropped":true} | {"error":class}]}
 *   {"validate":{property:text}}   -> {"configs":[{"definition":..,"value":..}]}
 *
 * Values tell their Java class: {"i8":1} {"i16":1} {"i32":1} {"i64":"1"} {"f32":"1.5"} {"f64":"1.5"} true "text"
 * {"bytes":base64} {"dec":["unscaled",scale]} {"date":"millis"} {"list":[..]} {"map":[[key,value],..]}
 * {"struct":[value,..]} (in the order of the schema's fields).
 */
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Date;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.common.config.ConfigValue;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.connect.data.Field;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.data.SchemaBuilder;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.header.ConnectHeaders;
import org.apache.kafka.connect.header.Header;
import org.apache.kafka.connect.runtime.AbstractHerder;
import org.apache.kafka.connect.runtime.ConnectorConfig;
import org.apache.kafka.connect.runtime.isolation.LoaderSwap;
import org.apache.kafka.connect.runtime.isolation.Plugins;
import org.apache.kafka.connect.runtime.rest.entities.ConfigInfo;
import org.apache.kafka.connect.runtime.rest.entities.ConfigInfos;
import org.apache.kafka.connect.sink.SinkRecord;
import org.apache.kafka.connect.transforms.Transformation;
import org.apache.kafka.connect.transforms.predicates.Predicate;

public class ConnectOracle {
    static final ObjectMapper JSON = new ObjectMapper();
    static Plugins plugins;

    public static void main(String[] args) throws Exception {
        try (BufferedReader in = Files.newBufferedReader(Path.of(args[0]));
                BufferedWriter out = Files.newBufferedWriter(Path.of(args[1]))) {
            for (String line = in.readLine(); line != null; line = in.readLine()) {
                JsonNode question = JSON.readTree(line);
                out.write(JSON.writeValueAsString(question.has("validate") ? validate(question) : transform(question)));
                out.newLine();
            }
        }
    }

    record Stage(Transformation<SinkRecord> transformation, Predicate<SinkRecord> predicate, boolean negate) {}

    static ObjectNode transform(JsonNode question) throws Exception {
        ObjectNode answer = JSON.createObjectNode();
        List<Stage> stages = new ArrayList<>();
        try {
            for (JsonNode step : question.get("steps")) stages.add(stage(step));
        } catch (RuntimeException e) {
            answer.put("configError", e.getClass().getName());
            return answer;
        }
        ArrayNode records = answer.putArray("records");
        Map<String, Schema> schemas = new HashMap<>();
        for (JsonNode each : question.get("records")) records.add(apply(stages, each, schemas));
        return answer;
    }

    @SuppressWarnings("unchecked")
    static Stage stage(JsonNode step) throws Exception {
        Transformation<SinkRecord> transformation =
                (Transformation<SinkRecord>) Class.forName(step.get("type").asText()).getDeclaredConstructor().newInstance();
        transformation.configure(texts(step.get("settings")));
        JsonNode condition = step.get("predicate");
        if (condition == null) return new Stage(transformation, null, false);
        Predicate<SinkRecord> predicate =
                (Predicate<SinkRecord>) Class.forName(condition.get("type").asText()).getDeclaredConstructor().newInstance();
        predicate.configure(texts(condition.get("settings")));
        return new Stage(transformation, predicate, condition.get("negate").asBoolean());
    }

    static Map<String, String> texts(JsonNode node) {
        Map<String, String> texts = new HashMap<>();
        node.properties().forEach(entry -> texts.put(entry.getKey(), entry.getValue().asText()));
        return texts;
    }

    static ObjectNode apply(List<Stage> stages, JsonNode given, Map<String, Schema> schemas) {
        ObjectNode answer = JSON.createObjectNode();
        SinkRecord record = recordOf(given, schemas);
        try {
            for (Stage stage : stages) {
                if (stage.predicate != null && stage.negate == stage.predicate.test(record)) continue;
                record = stage.transformation.apply(record);
                if (record == null) return answer.put("dropped", true);
            }
        } catch (Exception e) {
            return answer.put("error", e.getClass().getName()).put("message", String.valueOf(e.getMessage()));
        }
        write(answer, record);
        return answer;
    }

    static SinkRecord recordOf(JsonNode given, Map<String, Schema> schemas) {
        Schema keySchema = schemaOf(given.get("keySchema"), schemas);
        Schema valueSchema = schemaOf(given.get("valueSchema"), schemas);
        ConnectHeaders headers = new ConnectHeaders();
        for (JsonNode header : given.get("headers")) {
            Schema schema = schemaOf(header.get(1), schemas);
            headers.add(header.get(0).asText(), valueOf(header.get(2), schema), schema);
        }
        JsonNode timestamp = given.get("timestamp");
        return new SinkRecord(given.get("topic").asText(), given.get("partition").asInt(), keySchema,
                valueOf(given.get("key"), keySchema), valueSchema, valueOf(given.get("value"), valueSchema),
                given.get("offset").asLong(), timestamp.isNull() ? null : timestamp.asLong(), TimestampType.CREATE_TIME, headers);
    }

    static void write(ObjectNode answer, SinkRecord record) {
        answer.put("topic", record.topic());
        answer.put("partition", record.kafkaPartition());
        answer.set("keySchema", schemaNode(record.keySchema()));
        answer.set("key", valueNode(record.key()));
        answer.set("valueSchema", schemaNode(record.valueSchema()));
        answer.set("value", valueNode(record.value()));
        answer.put("timestamp", record.timestamp());
        answer.put("offset", record.kafkaOffset());
        ArrayNode headers = answer.putArray("headers");
        for (Header header : record.headers()) {
            headers.addArray().add(header.key()).add(schemaNode(header.schema())).add(valueNode(header.value()));
        }
    }

    static Schema schemaOf(JsonNode node, Map<String, Schema> schemas) {
        if (node == null || node.isNull()) return null;
        Schema known = schemas.get(node.toString());
        if (known != null) return known;
        SchemaBuilder builder = switch (node.get("type").asText()) {
            case "array" -> SchemaBuilder.array(schemaOf(node.get("valueSchema"), schemas));
            case "map" -> SchemaBuilder.map(schemaOf(node.get("keySchema"), schemas), schemaOf(node.get("valueSchema"), schemas));
            default -> SchemaBuilder.type(Schema.Type.valueOf(node.get("type").asText().toUpperCase(Locale.ROOT)));
        };
        if (node.has("fields")) for (JsonNode field : node.get("fields")) builder.field(field.get(0).asText(), schemaOf(field.get(1), schemas));
        if (node.get("optional").asBoolean()) builder.optional();
        if (node.has("name")) builder.name(node.get("name").asText());
        if (node.has("version")) builder.version(node.get("version").asInt());
        if (node.has("doc")) builder.doc(node.get("doc").asText());
        if (node.has("parameters")) for (JsonNode each : node.get("parameters")) builder.parameter(each.get(0).asText(), each.get(1).asText());
        if (node.has("default")) {
            // A default struct must have the schema it is the default of, without that default.
            builder.defaultValue(valueOf(node.get("default"), builder));
        }
        Schema schema = builder.build();
        schemas.put(node.toString(), schema);
        return schema;
    }

    static ObjectNode schemaNode(Schema schema) {
        if (schema == null) return null;
        ObjectNode node = JSON.createObjectNode();
        node.put("type", schema.type().getName());
        node.put("optional", schema.isOptional());
        if (schema.name() != null) node.put("name", schema.name());
        if (schema.version() != null) node.put("version", schema.version());
        if (schema.doc() != null) node.put("doc", schema.doc());
        if (schema.parameters() != null && !schema.parameters().isEmpty()) {
            ArrayNode parameters = node.putArray("parameters");
            schema.parameters().entrySet().stream().sorted(Map.Entry.comparingByKey())
                    .forEach(entry -> parameters.addArray().add(entry.getKey()).add(entry.getValue()));
        }
        if (schema.defaultValue() != null) node.set("default", valueNode(schema.defaultValue()));
        if (schema.type() == Schema.Type.STRUCT) {
            ArrayNode fields = node.putArray("fields");
            for (Field field : schema.fields()) fields.addArray().add(field.name()).add(schemaNode(field.schema()));
        }
        if (schema.type() == Schema.Type.MAP) node.set("keySchema", schemaNode(schema.keySchema()));
        if (schema.type() == Schema.Type.MAP || schema.type() == Schema.Type.ARRAY) node.set("valueSchema", schemaNode(schema.valueSchema()));
        return node;
    }

    static Object valueOf(JsonNode node, Schema schema) {
        if (node == null || node.isNull()) return null;
        if (node.isBoolean()) return node.asBoolean();
        if (node.isTextual()) return node.asText();
        String kind = node.fieldNames().next();
        JsonNode content = node.get(kind);
        switch (kind) {
            case "i8": return (byte) content.asInt();
            case "i16": return (short) content.asInt();
            case "i32": return content.asInt();
            case "i64": return Long.parseLong(content.asText());
            case "f32": return Float.parseFloat(content.asText());
            case "f64": return Double.parseDouble(content.asText());
            case "bytes": return Base64.getDecoder().decode(content.asText());
            case "dec": return new BigDecimal(new BigInteger(content.get(0).asText()), content.get(1).asInt());
            case "date": return new Date(Long.parseLong(content.asText()));
            case "list": {
                List<Object> list = new ArrayList<>();
                for (JsonNode each : content) list.add(valueOf(each, schema == null ? null : schema.valueSchema()));
                return list;
            }
            case "map": {
                Map<Object, Object> map = new HashMap<>();
                for (JsonNode each : content) {
                    map.put(valueOf(each.get(0), schema == null ? null : schema.keySchema()),
                            valueOf(each.get(1), schema == null ? null : schema.valueSchema()));
                }
                return map;
            }
            case "struct": {
                Struct struct = new Struct(schema);
                for (Field field : schema.fields()) struct.put(field, valueOf(content.get(field.index()), field.schema()));
                return struct;
            }
            default: throw new IllegalArgumentException(kind);
        }
    }

    static JsonNode valueNode(Object value) {
        ObjectNode node = JSON.createObjectNode();
        if (value == null) return JSON.nullNode();
        if (value instanceof Boolean flag) return JSON.getNodeFactory().booleanNode(flag);
        if (value instanceof String text) return JSON.getNodeFactory().textNode(text);
        if (value instanceof Byte number) return node.put("i8", number.intValue());
        if (value instanceof Short number) return node.put("i16", number.intValue());
        if (value instanceof Integer number) return node.put("i32", number);
        if (value instanceof Long number) return node.put("i64", number.toString());
        // Bits, so that the text of a float is no part of the comparison.
        if (value instanceof Float number) return node.put("f32", Integer.toHexString(Float.floatToIntBits(number)));
        if (value instanceof Double number) return node.put("f64", Long.toHexString(Double.doubleToLongBits(number)));
        if (value instanceof byte[] bytes) return node.put("bytes", Base64.getEncoder().encodeToString(bytes));
        if (value instanceof ByteBuffer bytes) return node.put("bytes", Base64.getEncoder().encodeToString(bytes.array()));
        if (value instanceof Date date) return node.put("date", Long.toString(date.getTime()));
        if (value instanceof BigDecimal decimal) {
            node.putArray("dec").add(decimal.unscaledValue().toString()).add(decimal.scale());
            return node;
        }
        if (value instanceof List<?> list) {
            ArrayNode array = node.putArray("list");
            for (Object each : list) array.add(valueNode(each));
            return node;
        }
        if (value instanceof Map<?, ?> map) {
            ArrayNode array = node.putArray("map");
            map.forEach((key, each) -> array.addArray().add(valueNode(key)).add(valueNode(each)));
            return node;
        }
        if (value instanceof Struct struct) {
            ArrayNode array = node.putArray("struct");
            for (Field field : struct.schema().fields()) array.add(valueNode(struct.getWithoutDefault(field.name())));
            return node;
        }
        return node.put("unknown", value.getClass().getName());
    }

    static JsonNode validate(JsonNode question) {
        if (plugins == null) plugins = new Plugins(Map.of("plugin.discovery", "only_scan"));
        Map<String, String> properties = texts(question.get("validate"));
        try (LoaderSwap swap = plugins.withClassLoader(plugins.delegatingLoader())) {
            return validate(properties);
        }
    }

    static JsonNode validate(Map<String, String> properties) {
        ConfigDef definitions = ConnectorConfig.enrich(plugins, new ConfigDef(), properties, false);
        List<ConfigValue> values = definitions.validate(properties);
        ConfigInfos infos = AbstractHerder.generateResult("x", definitions.configKeys(), values, definitions.groups());
        ObjectNode answer = JSON.createObjectNode();
        ArrayNode configs = answer.putArray("configs");
        for (ConfigInfo info : infos.configs()) if (info.configKey() != null) configs.add(JSON.valueToTree(info));
        return answer;
    }
}
