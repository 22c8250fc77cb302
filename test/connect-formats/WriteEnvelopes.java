/*
 * Kafka Connect's JsonConverter as the writer of records: each question is an envelope as text; it is read into Connect data and
 * written again by the converter, as a source connector's worker would.
 *
 *   {"envelope": text}  ->  {"bytes": base64} or {"error": class}
 */
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.Map;
import org.apache.kafka.connect.data.SchemaAndValue;
import org.apache.kafka.connect.json.JsonConverter;

public class WriteEnvelopes {
  public static void main(String[] args) throws Exception {
    ObjectMapper mapper = new ObjectMapper();
    JsonConverter converter = new JsonConverter();
    converter.configure(Map.of("schemas.enable", "true"), false);
    try (BufferedReader questions = Files.newBufferedReader(Path.of(args[0]));
        PrintWriter answers = new PrintWriter(Files.newBufferedWriter(Path.of(args[1])))) {
      for (String line = questions.readLine(); line != null; line = questions.readLine()) {
        JsonNode question = mapper.readTree(line);
        Map<String, String> answer;
        try {
          byte[] text = question.get("envelope").asText().getBytes(StandardCharsets.UTF_8);
          SchemaAndValue data = converter.toConnectData("topic", text);
          byte[] bytes = converter.fromConnectData("topic", data.schema(), data.value());
          answer = Map.of("bytes", Base64.getEncoder().encodeToString(bytes));
        } catch (RuntimeException error) {
          answer = Map.of("error", error.getClass().getName());
        }
        answers.println(mapper.writeValueAsString(answer));
      }
    }
  }
}
