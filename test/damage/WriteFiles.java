/*
 * Files of parquet-java with the rows of `sample-rows.ts`: every codec, both versions of pages, with dictionaries and without, and
 * byte stream split. Version 2 without dictionaries writes DELTA_BINARY_PACKED, DELTA_BYTE_ARRAY and RLE booleans.
 *
 *   java -cp <jars> WriteFiles.java <folder>
 */
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.MessageDigest;
import org.apache.parquet.column.ParquetProperties.WriterVersion;
import org.apache.parquet.conf.PlainParquetConfiguration;
import org.apache.parquet.example.data.Group;
import org.apache.parquet.example.data.simple.SimpleGroupFactory;
import org.apache.parquet.hadoop.ParquetWriter;
import org.apache.parquet.hadoop.example.ExampleParquetWriter;
import org.apache.parquet.hadoop.metadata.CompressionCodecName;
import org.apache.parquet.io.LocalOutputFile;
import org.apache.parquet.io.api.Binary;
import org.apache.parquet.schema.MessageType;
import org.apache.parquet.schema.MessageTypeParser;

public class WriteFiles {
  private static final int ROWS = 6000;
  private static final MessageType SCHEMA =
      MessageTypeParser.parseMessageType(
          "message rows { optional int64 i; optional int32 n; optional double d; optional float f; optional boolean b;"
              + " optional binary s (UTF8); optional binary r (UTF8); optional int64 t (TIMESTAMP(MICROS,false));"
              + " optional int64 z; optional fixed_len_byte_array(16) x; }");

  public static void main(String[] args) throws Exception {
    CompressionCodecName[] codecs = {
      CompressionCodecName.UNCOMPRESSED,
      CompressionCodecName.SNAPPY,
      CompressionCodecName.GZIP,
      CompressionCodecName.ZSTD,
      CompressionCodecName.LZ4_RAW
    };
    for (CompressionCodecName codec : codecs) {
      for (WriterVersion version : WriterVersion.values()) {
        for (boolean dictionary : new boolean[] {true, false}) {
          String kind = dictionary ? "dictionary" : "plain";
          write(Path.of(args[0]), codec, version, kind, dictionary, false);
        }
      }
    }
    write(Path.of(args[0]), codecs[0], WriterVersion.PARQUET_2_0, "byte stream split", false, true);
    write(Path.of(args[0]), CompressionCodecName.ZSTD, WriterVersion.PARQUET_1_0, "byte stream split", false, true);
  }

  private static void write(
      Path folder, CompressionCodecName codec, WriterVersion version, String kind, boolean dictionary, boolean split)
      throws Exception {
    String pages = version == WriterVersion.PARQUET_1_0 ? "v1" : "v2";
    String name = "parquet-java " + codec.name().toLowerCase() + " " + pages + " " + kind + ".parquet";
    ExampleParquetWriter.Builder builder =
        ExampleParquetWriter.builder(new LocalOutputFile(folder.resolve(name)))
            .withConf(new PlainParquetConfiguration())
            .withType(SCHEMA)
            .withCompressionCodec(codec)
            .withWriterVersion(version)
            .withDictionaryEncoding(dictionary)
            .withByteStreamSplitEncoding(split)
            .withPageSize(4096)
            .withRowGroupSize(100_000L)
            .withPageWriteChecksumEnabled(false);
    SimpleGroupFactory groups = new SimpleGroupFactory(SCHEMA);
    try (ParquetWriter<Group> writer = builder.build()) {
      for (long i = 0; i < ROWS; i += 1) writer.write(row(groups.newGroup(), i));
    }
  }

  private static Group row(Group group, long i) throws Exception {
    group.append("i", i * 7919).append("n", (int) (i % 13)).append("d", i * 0.25).append("f", (i % 1000) * 0.5f);
    group.append("b", i % 3 == 0).append("s", "text " + i * 2654435761L % 4294967296L).append("r", "value " + i % 5);
    group.append("t", 1_700_000_000_000_000L + i * 1_000_000L);
    if (i % 4 != 0) group.append("z", i);
    byte[] digest = MessageDigest.getInstance("MD5").digest(Long.toString(i).getBytes(StandardCharsets.UTF_8));
    group.append("x", Binary.fromConstantByteArray(digest));
    return group;
  }
}
