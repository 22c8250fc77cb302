# One image, three services: the command says which (`ingest`, `compactor`, `query`, or `up` for all of them).
FROM node:24-bookworm-slim AS dependencies
WORKDIR /millrace
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev

FROM node:24-bookworm-slim
ENV NODE_ENV=production
WORKDIR /millrace
COPY --from=dependencies /millrace/node_modules node_modules
COPY package.json millrace ./
COPY schemas schemas
COPY runtime runtime
COPY lake lake
COPY ingest ingest
COPY compactor compactor
COPY query query
COPY bin bin
RUN mkdir /data && chown node:node /data
USER node
VOLUME /data
EXPOSE 8080 8081 8082
ENTRYPOINT ["node", "bin/millrace.ts"]
CMD ["up"]
